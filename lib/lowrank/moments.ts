import { MOMENTS_CODE } from '../addon/contract.js';
import { ArgumentError } from '../errors.js';
import { checkOptions, type OptionType, type OptionTypes, oneOf, optionsOf, wholeNumber } from '../options.js';
import { asMatrices, type Matrices, type TensorLike } from '../tensor/tensor.js';
import { LowRank } from './factors.js';

/**
 * Which second moments are known of the vectors x that W multiplies:
 *
 * - `inputs`: C = E[x x^T]
 * - `diagonal`: the diagonal of C alone, E[x_j^2], as in llama.cpp's imatrix files
 * - `outputs`: E[y y^T] of y = W x, which is smaller if W has fewer rows than columns
 *
 * @useDeclaredType
 */
export type MomentsKind = keyof typeof MOMENTS_CODE;
export const MOMENTS_KINDS = Object.keys(MOMENTS_CODE) as MomentsKind[];

/** Moments of the inputs or outputs of a matrix W of shape [m, n]. C may be singular. */
export interface Moments {
  readonly kind: MomentsKind;
  /**
   * n x n numbers for `inputs`, n for `diagonal`, m x m for `outputs`. Symmetric and positive
   * semidefinite.
   */
  readonly second: Float64Array;
  /** The mean of the same vectors: n numbers, or m for `outputs`. */
  readonly mean?: Float64Array | undefined;
  /** The number of vectors. */
  readonly count?: number | undefined;
}

const float64Array: OptionType<Float64Array> = {
  expected: 'a Float64Array',
  is: (value): value is Float64Array => value instanceof Float64Array,
};

const MOMENTS_FIELDS: OptionTypes<Moments> = {
  kind: oneOf(MOMENTS_KINDS),
  second: float64Array,
  mean: float64Array,
  count: wholeNumber(0),
};
export const MOMENTS = optionsOf<Moments>(MOMENTS_FIELDS);

/** Validates moments that a caller passes. */
function checked(moments: Moments, taker: string): Moments {
  const given = checkOptions(moments, MOMENTS_FIELDS, taker);
  if (given.kind === undefined || given.second === undefined) {
    throw new ArgumentError('moments', 'an object with kind and second', moments);
  }
  return given;
}

/** Returns the length of the vectors that the moments describe. */
function sideOf({ kind }: Moments, { m, n }: Pick<Matrices, 'm' | 'n'>): number {
  return kind === 'outputs' ? m : n;
}

/** Returns the moments as fields of a native job. */
export function momentsJob(moments: Moments, matrices: Matrices): { moments: Float64Array; momentsKind: number } {
  const { kind, second } = checked(moments, 'factorize');
  const { batched, m, n } = matrices;
  if (batched) throw new ArgumentError('w.shape', 'one matrix, with moments', [matrices.batch, m, n], 'ERR_SHAPE');
  const side = sideOf(moments, matrices);
  const expected = kind === 'diagonal' ? side : side * side;
  if (second.length !== expected) {
    throw new ArgumentError(
      'moments.second.length',
      `${expected} (${kind} of a matrix of shape [${m}, ${n}])`,
      second.length,
      'ERR_SHAPE',
    );
  }
  return { moments: second, momentsKind: MOMENTS_CODE[kind] };
}

/**
 * Returns the moments about the mean, C - mu mu^T. They are the right weights for a layer with a
 * bias: {@link biasCorrection}, added to the bias, removes the error of the mean.
 *
 * @throws ArgumentError if the mean is missing or has another length.
 */
export function centred(moments: Moments): Moments {
  const { kind, second } = checked(moments, 'centred');
  const side = kind === 'diagonal' ? second.length : Math.sqrt(second.length);
  const mean = meanOf(moments, side);
  const about = second.slice();
  if (kind === 'diagonal') {
    // Rounding can make the square of the mean exceed the second moment.
    for (let j = 0; j < side; j++) about[j] = Math.max(0, about[j]! - mean[j]! ** 2);
  } else {
    for (let i = 0; i < side; i++) {
      for (let j = 0; j < side; j++) about[i * side + j]! -= mean[i]! * mean[j]!;
    }
  }
  return { ...moments, second: about, mean: new Float64Array(side) };
}

/**
 * Returns the correction of the bias of a layer y = W x + b when B A replaces W: (W - B A) mu. It
 * keeps the mean of y as it was. With moments of the outputs, for which B = U and A = U^T W, it is
 * (I - U U^T) times their mean.
 *
 * @param w - [m, n].
 * @returns m numbers.
 * @throws ArgumentError if shapes do not fit or the mean is missing.
 */
export function biasCorrection(w: TensorLike, factors: LowRank, moments: Moments): Float64Array {
  const { data, batched, m, n } = asMatrices(w, 'w');
  const { kind } = checked(moments, 'biasCorrection');
  if (!(factors instanceof LowRank)) throw new ArgumentError('factors', 'a LowRank', factors);
  const [rows, columns] = factors.shape;
  if (batched || factors.shape.length !== 2 || rows !== m || columns !== n) {
    throw new ArgumentError('factors.shape', `[${m}, ${n}]`, factors.shape, 'ERR_SHAPE');
  }
  const mean = meanOf(moments, sideOf(moments, { m, n }));
  const { b, a, rank: k } = factors;
  const outputs = kind === 'outputs';
  const inner = outputs ? timesTransposed(b.data, m, k, mean) : times(a.data, k, n, mean);
  const kept = times(b.data, m, k, inner);
  const whole = outputs ? mean : times(data, m, n, mean);
  return whole.map((value, i) => value - kept[i]!);
}

function meanOf({ mean }: Moments, side: number): Float64Array {
  if (mean === undefined) throw new ArgumentError('moments.mean', 'the mean of the vectors', mean);
  if (mean.length !== side) throw new ArgumentError('moments.mean.length', String(side), mean.length, 'ERR_SHAPE');
  return mean;
}

function times(matrix: Float32Array, m: number, n: number, x: Float64Array): Float64Array {
  const y = new Float64Array(m);
  for (let i = 0; i < m; i++) {
    let sum = 0;
    for (let j = 0; j < n; j++) sum += matrix[i * n + j]! * x[j]!;
    y[i] = sum;
  }
  return y;
}

function timesTransposed(matrix: Float32Array, m: number, n: number, x: Float64Array): Float64Array {
  const y = new Float64Array(n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) y[j]! += matrix[i * n + j]! * x[i]!;
  }
  return y;
}
