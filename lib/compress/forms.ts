import type { TensorInfo } from '../checkpoint/checkpoint.js';
import type { Moments } from '../lowrank/moments.js';
import type { Coded } from '../quantize/coded.js';
import { difference, quantizeCorrected } from '../quantize/corrected.js';
import { quantizeBlocks, quantizeChannels, weightedSquares } from '../quantize/quantize-matrix.js';
import { inputNoise } from '../quantize/smoothing.js';
import { blockBytes, channelBytes } from '../quantize/stored-tensors.js';
import { shiftedBias } from './bias.js';
import type { LayerFactors } from './layer-factors.js';
import type { Matrix } from './matrices.js';
import { isCoded, type Stored } from './stored.js';
import { factorBytes, transposed } from './stored-factors.js';

/** All but dense. */
export type Changed = Exclude<Stored, { kind: 'dense' }>;

/** A matrix in the form in which it is stored. */
export interface Formed {
  /** The relative error, as a report has it. */
  readonly error: number;
  /** The bytes of its tensors, by name. */
  readonly tensors: ReadonlyMap<string, Uint8Array>;
  /** The bias that takes up the error of the mean, where there is one. */
  readonly bias: { readonly info: TensorInfo; readonly numbers: Float32Array } | undefined;
}

/** A matrix as whole numbers. */
interface Rounded {
  readonly tensors: ReadonlyMap<string, Uint8Array>;
  /** The numbers that they stand for, [m, n]. */
  readonly dense: Float32Array;
}

/** What the columns of a weight are multiplied by before they become int8. */
function scalesOf(coded: Coded): Float32Array | undefined {
  return coded.kind === 'channels' ? coded.smoothing?.scales : undefined;
}

/** Bytes of tried tensors to keep: choices by different weightings are mostly the same. */
const KEPT_BYTES = 2 ** 29;

/** Brings matrices into the forms in which they may be stored, and measures what they lose. */
export class Forms {
  readonly #tried = new Map<string, ReadonlyMap<string, Float32Array>>();

  constructor(readonly factors: LayerFactors) {}

  /** How sums and products are computed. */
  get compute() {
    const { signal, threads } = this.factors.compute;
    return { signal, threads };
  }

  /** The moments by which a matrix is rounded; undefined where only those of outputs are known. */
  async moments(matrix: Matrix): Promise<Moments | undefined> {
    const moments = matrix.use === 'lookup' ? undefined : await this.factors.weights(matrix);
    return moments?.kind === 'outputs' ? undefined : moments;
  }

  /** The bias that changes with a matrix in some form. */
  async biasOf(matrix: Matrix, stored: Stored): Promise<TensorInfo | undefined> {
    if (stored.kind === 'dense' || matrix.use === 'lookup') return undefined;
    if (isCoded(stored) && (await this.moments(matrix)) === undefined) return undefined;
    return this.factors.biasOf(matrix);
  }

  /** Makes what is written of a matrix. */
  async formed(matrix: Matrix, stored: Changed): Promise<Formed> {
    const info = await this.biasOf(matrix, stored);
    const withBias = (numbers: Float32Array | undefined) => info && numbers && { info, numbers };
    if (isCoded(stored)) {
      const { tensors, dense } = await this.#rounded(matrix, stored);
      const error = Math.sqrt(await this.#loss(matrix, stored, dense));
      return { error, tensors, bias: withBias(await this.#shiftedBias(matrix, info, dense)) };
    }
    const { signal } = this.compute;
    const factors = await this.factors.factors(matrix, stored.rank);
    const tensors = await factorBytes(factors, matrix, stored.storage, { ...(signal && { signal }) });
    const bias = withBias(await this.factors.correctedBias(matrix, factors));
    return { error: factors.certificate.relativeError, tensors, bias };
  }

  /**
   * The tensors of the file with which the model computes as with a matrix in this form, laid out
   * as they lie there: the matrix, and its bias if that changes.
   */
  async tried(matrix: Matrix, stored: Changed): Promise<ReadonlyMap<string, Float32Array>> {
    if (!isCoded(stored)) {
      return this.factors.multipliedOut(matrix, await this.factors.factors(matrix, stored.rank));
    }
    const key = `${matrix.info.name} ${JSON.stringify(stored)}`;
    const known = this.#tried.get(key);
    if (known !== undefined) return known;
    const { info, m, n } = matrix;
    const { dense } = await this.#rounded(matrix, stored, 1);
    const tensors = new Map([[info.name, info.orientation === 'in x out' ? transposed(dense, m, n) : dense]]);
    const bias = await this.biasOf(matrix, stored);
    const shifted = await this.#shiftedBias(matrix, bias, dense);
    if (shifted !== undefined) tensors.set(bias!.name, shifted);
    this.#keep(key, tensors);
    return tensors;
  }

  /** The relative loss of a matrix in a form that is not corrected, or little so. */
  async lossOf(matrix: Matrix, coded: Coded): Promise<number> {
    return this.#loss(matrix, coded, (await this.#rounded(matrix, coded, 1)).dense);
  }

  /**
   * Rounds a matrix.
   *
   * @param rounds of a correction, see `quantizeCorrected`
   */
  async #rounded(matrix: Matrix, coded: Coded, rounds?: number): Promise<Rounded> {
    const w = await this.factors.weight(matrix);
    if (coded.kind === 'channels') {
      const { m, n } = matrix;
      const smooth = scalesOf(coded);
      const scaled = smooth === undefined ? w : { ...w, data: w.data.map((value, at) => value * smooth[at % n]!) };
      const channels = await quantizeChannels(scaled, this.compute);
      const { codes, scales } = channels;
      const dense = w.data.map((_, at) => {
        const [row, column] = [Math.floor(at / n), at % n];
        return (codes[column * m + row]! * scales[row]!) / (smooth?.[column] ?? 1);
      });
      return { tensors: channelBytes(matrix, channels, coded.smoothing), dense };
    }
    const options = { ...this.compute, moments: await this.moments(matrix) };
    const { format, rank } = coded;
    if (rank === 0) {
      const quantized = await quantizeBlocks(w, format, options);
      return { tensors: blockBytes(matrix, quantized, undefined), dense: quantized.dense };
    }
    const { quantized, factors, dense } = await quantizeCorrected(w, format, { ...options, rank, rounds });
    return { tensors: blockBytes(matrix, quantized, factors), dense };
  }

  /**
   * The share of the outputs' mean square that a rounded matrix loses, with what int8 loses by
   * rounding inputs; without moments, the share of the weight's.
   */
  async #loss(matrix: Matrix, coded: Coded, dense: Float32Array): Promise<number> {
    const w = await this.factors.weight(matrix);
    const options = { ...this.compute, moments: await this.moments(matrix) };
    const energy = await weightedSquares(w, options);
    if (!(energy > 0)) return 0;
    const error = { data: difference(w.data, dense), shape: w.shape };
    const inputs = coded.kind === 'channels' ? await this.inputMoments(matrix) : undefined;
    const noise = inputs === undefined ? 0 : inputNoise(w, inputs, scalesOf(coded));
    return ((await weightedSquares(error, options)) + noise) / energy;
  }

  async #shiftedBias(
    matrix: Matrix,
    bias: TensorInfo | undefined,
    dense: Float32Array,
  ): Promise<Float32Array | undefined> {
    const mean = bias && (await this.inputMoments(matrix))?.mean;
    if (bias === undefined || mean === undefined) return undefined;
    const before = await this.factors.numbers(bias);
    return shiftedBias(before, await this.factors.weight(matrix), dense, mean);
  }

  /** The moments of the inputs about 0. */
  async inputMoments(matrix: Matrix): Promise<Moments | undefined> {
    const moments = matrix.use === 'lookup' ? undefined : await this.factors.momentsOf(matrix);
    return moments?.kind === 'outputs' ? undefined : moments;
  }

  #keep(key: string, tensors: ReadonlyMap<string, Float32Array>): void {
    this.#tried.set(key, tensors);
    let bytes = 0;
    // From the newest on.
    for (const [each, kept] of [...this.#tried].reverse()) {
      for (const { byteLength } of kept.values()) bytes += byteLength;
      if (bytes > KEPT_BYTES) this.#tried.delete(each);
    }
  }
}
