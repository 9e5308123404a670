import type { CallOptions } from '../addon/call.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import type { MomentsFile } from '../compress/moments.js';
import { transposed } from '../compress/stored-factors.js';
import type { Moments } from '../lowrank/moments.js';
import { toFloat32 } from '../tensor/convert.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Stored } from './choices.js';
import { difference, quantizeCorrected } from './corrected.js';
import type { QuantizedMatrix } from './matrix.js';
import { quantizeBlocks, quantizeChannels, weightedSquares } from './quantize-matrix.js';
import { blockBytes, channelBytes } from './stored-tensors.js';

/** A matrix in the form in which it is stored. */
export interface Rounded {
  /** Its tensors, by name. */
  readonly tensors: ReadonlyMap<string, Uint8Array>;
  /** The numbers that they stand for, [m, n]. */
  readonly dense: Float32Array;
}

/** Reads the matrices of a model and what their inputs are like, and rounds them. */
export class MatrixSource {
  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly file: MomentsFile | undefined,
    readonly compute: Pick<CallOptions, 'signal' | 'threads'>,
  ) {}

  /** The weight, [m, n]. */
  async weight({ info, m, n }: QuantizedMatrix): Promise<Tensor> {
    const stored = toFloat32(await this.checkpoint.read(info.name), 'F32');
    return { data: info.orientation === 'in x out' ? transposed(stored, n, m) : stored, shape: [m, n] };
  }

  /** The moments of its inputs; undefined where the file has none, or only those of the outputs. */
  async moments({ info, name, aliases, use }: QuantizedMatrix): Promise<Moments | undefined> {
    const { file } = this;
    if (file === undefined || use === 'lookup') return undefined;
    const found = [name, info.name, ...aliases].find((each) => file.weights.has(each));
    const moments = found === undefined ? undefined : await file.read(found);
    return moments?.kind === 'outputs' ? undefined : moments;
  }

  /**
   * Rounds a matrix.
   *
   * @param rounds of a correction, see `quantizeCorrected`
   */
  async rounded(
    matrix: QuantizedMatrix,
    stored: Exclude<Stored, { kind: 'dense' }>,
    rounds?: number,
  ): Promise<Rounded> {
    const { compute } = this;
    const w = await this.weight(matrix);
    if (stored.kind === 'channels') {
      const { smoothing } = stored;
      const { m, n } = matrix;
      const smooth = smoothing?.scales;
      const scaled = smooth === undefined ? w : { ...w, data: w.data.map((value, at) => value * smooth[at % n]!) };
      const channels = await quantizeChannels(scaled, compute);
      const { codes, scales } = channels;
      const dense = w.data.map((_, at) => {
        const [row, column] = [Math.floor(at / n), at % n];
        return (codes[column * m + row]! * scales[row]!) / (smooth?.[column] ?? 1);
      });
      return { tensors: channelBytes(matrix, channels, smoothing), dense };
    }
    const options = { ...compute, moments: await this.moments(matrix) };
    const { format, rank } = stored;
    if (rank === 0) {
      const quantized = await quantizeBlocks(w, format, options);
      return { tensors: blockBytes(matrix, quantized, undefined), dense: quantized.dense };
    }
    const { quantized, factors, dense } = await quantizeCorrected(w, format, { ...options, rank, rounds });
    return { tensors: blockBytes(matrix, quantized, factors), dense };
  }

  /**
   * The share of the outputs' mean square that a rounded matrix loses; without moments, of the
   * weight's.
   */
  async loss(matrix: QuantizedMatrix, dense: Float32Array): Promise<number> {
    const w = await this.weight(matrix);
    const options = { ...this.compute, moments: await this.moments(matrix) };
    const energy = await weightedSquares(w, options);
    const error = { data: difference(w.data, dense), shape: w.shape };
    return energy > 0 ? (await weightedSquares(error, options)) / energy : 0;
  }
}

/** Numbers of a matrix, laid out as it lies in its file. */
export function inFile({ info, m, n }: QuantizedMatrix, dense: Float32Array): Float32Array {
  return info.orientation === 'in x out' ? transposed(dense, m, n) : dense;
}
