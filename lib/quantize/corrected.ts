import { factorize } from '../lowrank/factorize.js';
import type { PlainTensor } from '../tensor/tensor.js';
import type { BlockFormat } from './block-format.js';
import { type QuantizedBlocks, type QuantizeOptions, quantizeBlocks, weightedSquares } from './quantize-matrix.js';

/** Factors B A of rank k as int8: component i is b[:, i] a[i, :] scales[i]. */
export interface QuantizedFactors {
  readonly rank: number;
  /** [n, k]: A transposed, as x is multiplied by it. */
  readonly left: Int8Array;
  /** [k, m]: B transposed. */
  readonly right: Int8Array;
  /** k. */
  readonly scales: Float32Array;
}

/** A matrix in blocks, and what corrects its error: W ~ Q + B A. */
export interface CorrectedBlocks {
  readonly quantized: QuantizedBlocks;
  readonly factors: QuantizedFactors;
  /** Q + B A, [m, n]. */
  readonly dense: Float32Array;
  /** What is lost: {@link weightedSquares} of the rest. */
  readonly loss: number;
}

export interface CorrectOptions extends QuantizeOptions {
  /** Of the correction. */
  readonly rank: number;
  /** How often the matrix is rounded again, less its correction: 3 by default. The best is kept. */
  readonly rounds?: number | undefined;
}

const ROUNDS = 3;

/**
 * Rounds a matrix to codes in blocks, and finds the factors of rank k that make up for most of the
 * error: those of W - Q with the least loss by the moments (QERA, Zhang et al. 2024). Then W - B A
 * is rounded anew, a few times.
 *
 * @param w - [m, n]
 * @throws as `quantizeBlocks`; ArgumentError for a rank larger than the matrix.
 */
export async function quantizeCorrected(
  w: PlainTensor,
  format: BlockFormat,
  { rank, rounds = ROUNDS, ...options }: CorrectOptions,
): Promise<CorrectedBlocks> {
  const { moments, signal, threads } = options;
  const compute = { ...(signal && { signal }), ...(threads !== undefined && { threads }) };
  let best: CorrectedBlocks | undefined;
  let correction: Float32Array | undefined;
  for (let round = 0; round < rounds; round++) {
    const rest = correction === undefined ? w : { ...w, data: difference(w.data, correction) };
    const quantized = await quantizeBlocks(rest, format, options);
    const error = { data: difference(w.data, quantized.dense), shape: w.shape };
    const { b, a } = await factorize(error, { ...compute, rank, moments });
    const factors = quantizeFactors(b, a);
    correction = productOf(factors);
    const lost = { data: difference(error.data, correction), shape: w.shape };
    const loss = await weightedSquares(lost, { ...compute, moments });
    if (best !== undefined && loss >= best.loss) break;
    const dense = quantized.dense.map((value, i) => value + correction![i]!);
    best = { quantized, factors, dense, loss };
  }
  return best!;
}

const MOST = 127;

/**
 * Rounds each component to int8: its numbers in A have one scale, its numbers in B another.
 *
 * @internal
 */
export function quantizeFactors(
  { data: b, shape }: PlainTensor,
  { data: a, shape: aShape }: PlainTensor,
): QuantizedFactors {
  const [m, k] = shape as [number, number];
  const n = aShape[1]!;
  const left = new Int8Array(n * k);
  const right = new Int8Array(k * m);
  const scales = new Float32Array(k);
  for (let i = 0; i < k; i++) {
    let [inA, inB] = [0, 0];
    for (let j = 0; j < n; j++) inA = Math.max(inA, Math.abs(a[i * n + j]!));
    for (let j = 0; j < m; j++) inB = Math.max(inB, Math.abs(b[j * k + i]!));
    if (inA === 0 || inB === 0) continue;
    for (let j = 0; j < n; j++) left[j * k + i] = Math.round((a[i * n + j]! / inA) * MOST);
    for (let j = 0; j < m; j++) right[i * m + j] = Math.round((b[j * k + i]! / inB) * MOST);
    scales[i] = (inA / MOST) * (inB / MOST);
  }
  return { rank: k, left, right, scales };
}

/**
 * The product B A, [m, n].
 *
 * @internal
 */
export function productOf({ rank: k, left, right, scales }: QuantizedFactors): Float32Array {
  const [m, n] = [right.length / k, left.length / k];
  const product = new Float32Array(m * n);
  const row = new Float32Array(k);
  for (let i = 0; i < m; i++) {
    for (let l = 0; l < k; l++) row[l] = right[l * m + i]! * scales[l]!;
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += row[l]! * left[j * k + l]!;
      product[i * n + j] = sum;
    }
  }
  return product;
}

export function difference(x: Float32Array, y: Float32Array): Float32Array {
  return x.map((value, i) => value - y[i]!);
}
