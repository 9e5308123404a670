import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import type { QuantizedMatrix } from '../quantize/matrix.js';
import type { Chosen, LayerLatency, Weighting } from './choose.js';
import type { Matrix } from './matrices.js';
import type { Way } from './menu.js';
import type { Preset } from './options.js';
import type { OutputChange } from './output-change.js';
import type { Storage } from './ranks.js';
import type { LeftOut } from './select.js';
import { DENSE, describeStored, multiplicationsOf, plainly, type StoredAs, storedNumbers } from './stored.js';

/** A matrix of the result. */
export interface CompressedLayer {
  readonly name: string;
  /** Whether a linear layer multiplies by it, or its rows are looked up, as an embedding's. */
  readonly use: QuantizedMatrix['use'];
  /** [outputs, inputs]; rows and columns of one that is looked up. */
  readonly shape: readonly [m: number, n: number];
  readonly stored: StoredAs;
  /** In words, such as `rank 96 of 384` or `4 bits/32 + rank 16`. */
  readonly description: string;
  /** Of the tensors that stand for it. */
  readonly bytes: number;
  /** The numbers that stand for it, scales aside. */
  readonly parameters: number;
  /**
   * The relative error, a root: of the layer's outputs on the vectors of calibration, about their
   * mean where a bias takes up the error of the mean; without them of the weight. Predicted by a
   * dry run; measured on what is written. Of int8 with what rounding inputs to 8 bits adds, as far
   * as moments tell.
   */
  readonly error: number;
}

export interface CompressReport {
  readonly source: string;
  readonly preset: Preset | undefined;
  /** How factors are stored, where a layer becomes some. */
  readonly storage: Storage;
  readonly calibrated: boolean;
  /** What the losses of matrices were weighed by. */
  readonly weighting: Weighting;
  /**
   * The loss of the model's outputs by each weighting, where texts or inputs were there to try them
   * on.
   */
  readonly losses: Chosen['losses'];
  readonly layers: readonly CompressedLayer[];
  /** Matrices that stay as they are, and why. */
  readonly leftOut: readonly LeftOut[];
  /**
   * Linear layers of whose inputs the calibration has no moments: they stay dense, or are rounded
   * by the error of their weights.
   */
  readonly withoutMoments: readonly string[];
  /**
   * Vectors of calibration for each input of a layer, the smallest of all layers; below about 20
   * ranks are a guess.
   */
  readonly vectorsPerInput: number | undefined;
  /** The numbers of all these matrices, scales aside. */
  readonly parameters: { readonly before: number; readonly after: number };
  /** Bits a weight of these matrices, with scales and factors. */
  readonly bits: { readonly before: number; readonly after: number };
  /** The bytes of all weight files. */
  readonly bytes: { readonly before: number; readonly after: number };
  /** Multiplications for one vector of inputs of each layer. */
  readonly multiplications: { readonly before: number; readonly after: number };
  /** What the layers take by their kernels, if `latency` was limited. */
  readonly latency: LayerLatency | undefined;
  /**
   * How far the written model's outputs are from the original's, with both loaded into onnxruntime,
   * on samples that nothing was chosen by if there are enough. Undefined for a dry run, and without
   * texts or inputs.
   */
  readonly check: OutputChange | undefined;
  /** Undefined for a dry run. */
  readonly output: OutputSummary | undefined;
  readonly seconds: number;
}

/** Describes a matrix; its error is the predicted one. */
export function described(matrix: Matrix, { stored, bytes, loss }: Way): CompressedLayer {
  const { name, use, m, n } = matrix;
  return {
    name,
    use,
    shape: [m, n],
    stored: plainly(stored),
    description: describeStored(matrix, stored),
    bytes,
    parameters: storedNumbers(matrix, stored),
    error: Math.sqrt(loss),
  };
}

/** Sums up what the matrices take. */
export function totals(
  matrices: readonly Matrix[],
  ways: readonly Way[],
): Pick<CompressReport, 'parameters' | 'bits' | 'multiplications'> {
  const sum = (value: (matrix: Matrix, i: number) => number) =>
    matrices.reduce((total, matrix, i) => total + value(matrix, i), 0);
  const numbers = sum(({ m, n }) => m * n);
  const bitsOf = (bytes: number) => (8 * bytes) / numbers;
  return {
    parameters: { before: numbers, after: sum((matrix, i) => storedNumbers(matrix, ways[i]!.stored)) },
    bits: { before: bitsOf(sum(({ info }) => info.bytes)), after: bitsOf(sum((_, i) => ways[i]!.bytes)) },
    multiplications: {
      before: sum((matrix) => multiplicationsOf(matrix, DENSE)),
      after: sum((matrix, i) => multiplicationsOf(matrix, ways[i]!.stored)),
    },
  };
}
