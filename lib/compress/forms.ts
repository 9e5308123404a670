import type { TensorInfo } from '../checkpoint/checkpoint.js';
import type { Moments } from '../lowrank/moments.js';
import type { Coded } from '../quantize/coded.js';
import { difference, quantizeCorrected } from '../quantize/corrected.js';
import { quantizeBlocks, quantizeChannels, weightedSquares } from '../quantize/quantize-matrix.js';
import { inputNoise } from '../quantize/smoothing.js';
import { blockBytes, channelBytes } from '../quantize/stored-tensors.js';
import type { PlainTensor } from '../tensor/tensor.js';
import { shiftedBias } from './bias.js';
import type { LayerFactors } from './layer-factors.js';
import type { Matrix } from './matrices.js';
import { isCoded, plainly, type Stored } from './stored.js';
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

/** What is measured with. */
interface Known {
  readonly matrix: Matrix;
  /** The weight, [m, n]. */
  readonly w: PlainTensor;
  /** The moments by which it is rounded. */
  readonly moments: Moments | undefined;
  /** What it makes of the inputs by the moments: the mean square of the outputs. */
  readonly energy: number;
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
  #last: Known | undefined;

  constructor(readonly factors: LayerFactors) {}

  /** How sums and products are computed. */
  get compute() {
    const { signal, threads } = this.factors.compute;
    return { signal, threads };
  }

  /** Whether a matrix is rounded by moments: by those of inputs, not of outputs. */
  isWeighted(matrix: Matrix): boolean {
    return matrix.use === 'linear' && ![undefined, 'outputs'].includes(this.factors.kind(matrix));
  }

  /** What is known of a matrix; of the last one, since it is asked for again and again. */
  async known(matrix: Matrix): Promise<Known> {
    if (this.#last?.matrix === matrix) return this.#last;
    const w = await this.factors.weight(matrix);
    const moments = this.isWeighted(matrix) ? await this.factors.weights(matrix) : undefined;
    this.#last = { matrix, w, moments, energy: await weightedSquares(w, { ...this.compute, moments }) };
    return this.#last;
  }

  /** The bias that changes with a matrix in some form. */
  biasOf(matrix: Matrix, stored: Stored): TensorInfo | undefined {
    if (stored.kind === 'dense' || (isCoded(stored) && !this.isWeighted(matrix))) return undefined;
    return this.factors.biasOf(matrix);
  }

  /** Makes what is written of a matrix. */
  async formed(matrix: Matrix, stored: Changed): Promise<Formed> {
    const info = this.biasOf(matrix, stored);
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
    const key = `${matrix.info.name} ${JSON.stringify(plainly(stored))}`;
    const known = this.#tried.get(key);
    if (known !== undefined) return known;
    const { info, m, n } = matrix;
    const { dense } = await this.#rounded(matrix, stored, 1);
    const tensors = new Map([[info.name, info.orientation === 'in x out' ? transposed(dense, m, n) : dense]]);
    const bias = this.biasOf(matrix, stored);
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
    const { w, moments } = await this.known(matrix);
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
    const options = { ...this.compute, moments };
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
    const { w, moments, energy } = await this.known(matrix);
    if (!(energy > 0)) return 0;
    const error = { data: difference(w.data, dense), shape: w.shape };
    const inputs = coded.kind === 'channels' ? await this.inputMoments(matrix) : undefined;
    const noise = inputs === undefined ? 0 : inputNoise(w, inputs, scalesOf(coded));
    return ((await weightedSquares(error, { ...this.compute, moments })) + noise) / energy;
  }

  async #shiftedBias(
    matrix: Matrix,
    bias: TensorInfo | undefined,
    dense: Float32Array,
  ): Promise<Float32Array | undefined> {
    const mean = bias && (await this.inputMoments(matrix))?.mean;
    if (bias === undefined || mean === undefined) return undefined;
    const { w } = await this.known(matrix);
    return shiftedBias(await this.factors.numbers(bias), w, dense, mean);
  }

  /** The moments of the inputs about 0. */
  async inputMoments(matrix: Matrix): Promise<Moments | undefined> {
    return this.isWeighted(matrix) ? this.factors.momentsOf(matrix) : undefined;
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
