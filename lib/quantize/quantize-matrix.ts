import { type CallOptions, callAsync, pinned, threadCount } from '../addon/call.js';
import { MOMENTS_CODE } from '../addon/contract.js';
import { addon } from '../addon/load.js';
import { ROUNDING_CODE } from '../addon/quantize-jobs.js';
import { ArgumentError } from '../errors.js';
import type { Moments } from '../lowrank/moments.js';
import { asMatrices, type TensorLike } from '../tensor/tensor.js';
import { type BlockFormat, checkFormat, sizesOf } from './block-format.js';

/**
 * How codes are chosen. `spanning`: scales that meet the largest number of a block, as MatMulNBits'
 * own quantiser takes them; `nearest`: the scales with the smallest error, weighted by the moments
 * if there are some; `compensated`: later numbers of a row make up for the errors of earlier ones,
 * by the moments of all inputs.
 *
 * @internal
 */
export type Rounding = keyof typeof ROUNDING_CODE;

export interface QuantizeOptions extends Pick<CallOptions, 'signal' | 'threads'> {
  /** Of kind `inputs` or `diagonal`. */
  readonly moments?: Moments | undefined;
  /** By default `compensated` with moments of kind `inputs`, else `nearest`. */
  readonly rounding?: Rounding | undefined;
}

/** A matrix of shape [m, n] in blocks. */
export interface QuantizedBlocks {
  readonly format: BlockFormat;
  /** m x blocks x bytes of a block: codes from the lowest bits of a byte on. */
  readonly codes: Uint8Array;
  /** m x blocks. */
  readonly scales: Float32Array;
  /** m x bytes of a row's zero points, packed alike; undefined where all are the middle code. */
  readonly zeros: Uint8Array | undefined;
  /** The numbers that they stand for, [m, n]. */
  readonly dense: Float32Array;
}

/** A matrix of shape [m, n] as int8. */
export interface QuantizedChannels {
  /** [n, m]. */
  readonly codes: Int8Array;
  /** m. */
  readonly scales: Float32Array;
}

/**
 * What is added to each moment, as a share of their mean, so that rounding does not follow the
 * samples too closely.
 */
const DAMPING = 0.01;
/** More sweeps gain next to nothing. */
const SWEEPS = 3;

/**
 * Rounds a matrix to codes of a few bits in blocks.
 *
 * @param w - [m, n]
 * @throws LowRankError `ERR_NOT_FINITE`; ArgumentError, also for moments of another kind or length.
 */
export async function quantizeBlocks(
  w: TensorLike,
  format: BlockFormat,
  { moments, rounding, signal, threads }: QuantizeOptions = {},
): Promise<QuantizedBlocks> {
  checkFormat(format);
  const { data, m, n } = matrixOf(w);
  const { bits, block, symmetric, scales: scaleType } = format;
  const sizes = sizesOf(format, m, n);
  const codes = new Uint8Array(sizes.codes);
  const scales = new Float32Array(sizes.scales);
  const zeros = symmetric ? undefined : new Uint8Array(sizes.zeros);
  const dense = new Float32Array(m * n);
  const way = rounding ?? (moments?.kind === 'inputs' ? 'compensated' : 'nearest');
  const job = {
    ...{ m, n, w: pinned(data), bits, block, symmetric, half: scaleType === 'F16', codes, scales, dense },
    ...{ rounding: ROUNDING_CODE[way], damping: DAMPING, sweeps: SWEEPS, threads: threadCount(threads) },
    ...(zeros && { zeros }),
    ...inputMoments(moments, n),
  };
  await callAsync(addon().quantizeBlocksAsync, job, { signal });
  return { format, codes, scales, zeros, dense };
}

/**
 * Rounds a matrix to int8 with a scale for each row, so that processors without instructions for 8
 * bits compute with it without overflow.
 *
 * @param w - [m, n]
 * @throws LowRankError `ERR_NOT_FINITE`; ArgumentError.
 */
export async function quantizeChannels(
  w: TensorLike,
  { signal, threads }: Pick<CallOptions, 'signal' | 'threads'> = {},
): Promise<QuantizedChannels> {
  const { data, m, n } = matrixOf(w);
  const codes = new Uint8Array(n * m);
  const scales = new Float32Array(m);
  const job = { m, n, w: pinned(data), codes, scales, threads: threadCount(threads) };
  await callAsync(addon().quantizeChannelsAsync, job, { signal });
  return { codes: new Int8Array(codes.buffer), scales };
}

/**
 * Returns the mean of |E x|^2 over the inputs x of a layer: tr(E C E^T) by their moments C; without
 * any, the sum of squares.
 *
 * @param e - [m, n]
 */
export async function weightedSquares(
  e: TensorLike,
  { moments, signal, threads }: Pick<QuantizeOptions, 'moments' | 'signal' | 'threads'> = {},
): Promise<number> {
  const { data, m, n } = matrixOf(e);
  const out = new Float64Array(1);
  const job = { m, n, e: pinned(data), out, threads: threadCount(threads), ...inputMoments(moments, n) };
  await callAsync(addon().weightedSquaresAsync, job, { signal });
  return out[0]!;
}

function matrixOf(w: TensorLike) {
  const { data, batched, batch, m, n } = asMatrices(w, 'w');
  if (batched) throw new ArgumentError('w.shape', 'a matrix', [batch, m, n], 'ERR_SHAPE');
  return { data, m, n };
}

/** The fields of a native job. */
function inputMoments(moments: Moments | undefined, n: number) {
  if (moments === undefined) return {};
  const { kind, second } = moments;
  if (kind === 'outputs') throw new ArgumentError('moments.kind', 'inputs or diagonal', kind);
  const expected = kind === 'diagonal' ? n : n * n;
  if (second.length !== expected) {
    throw new ArgumentError('moments.second.length', String(expected), second.length, 'ERR_SHAPE');
  }
  return { moments: pinned(second), momentsKind: MOMENTS_CODE[kind] };
}
