import { MOMENTS_CODE } from '../addon/contract.js';
import { ArgumentError } from '../errors.js';
import { checkOptions, type OptionType, type OptionTypes, oneOf, optionsOf, wholeNumber } from '../options.js';
import { asMatrices, type Matrices, type TensorLike } from '../tensor/tensor.js';
import { LowRank } from './factors.js';

/**
 * `inputs`: C = E[x x^T] of the vectors x that W multiplies; `diagonal`: E[x_j^2] alone, as llama.cpp's imatrix files hold
 * them; `outputs`: E[y y^T] of y = W x, smaller where W has fewer rows than columns.
 *
 * @useDeclaredType
 */
export type MomentsKind = keyof typeof MOMENTS_CODE;

/** Moments of the vectors that pass a matrix W of shape [m, n]. The matrix of second moments may be singular. */
export interface Moments {
  readonly kind: MomentsKind;
  /** n x n numbers of `inputs`, n of `diagonal`, m x m of `outputs`; symmetric and positive semidefinite. */
  readonly second: Float64Array;
  /** The mean of the same vectors: n numbers, of `outputs` m. */
  readonly mean?: Float64Array | undefined;
  /** How many vectors were seen. */
  readonly count?: number | undefined;
}

const float64Array: OptionType<Float64Array> = {
  expected: 'a Float64Array',
  is: (value): value is Float64Array => value instanceof Float64Array,
};

const MOMENTS_FIELDS: OptionTypes<Moments> = {
  kind: oneOf(Object.keys(MOMENTS_CODE) as MomentsKind[]),
  second: float64Array,
  mean: float64Array,
  count: wholeNumber(0),
};
export const MOMENTS = optionsOf<Moments>(MOMENTS_FIELDS);

/** Checks moments straight from a caller. */
function checked(moments: Moments, taker: string): Moments {
  const given = checkOptions(moments, MOMENTS_FIELDS, taker);
  if (given.kind === undefined || given.second === undefined) {
    throw new ArgumentError('moments', 'an object with kind and second', moments);
  }
  return given;
}

/** The length of the vectors whose moments these are. */
function sideOf({ kind }: Moments, { m, n }: Pick<Matrices, 'm' | 'n'>): number {
  return kind === 'outputs' ? m : n;
}

/** The fields of the native job. */
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
 * The moments about the mean, C - mu mu^T: the right weights for a layer with a bias, which takes up the error of the mean
 * when {@link biasCorrection} is added to it.
 *
 * @throws ArgumentError where the mean is missing or has another length.
 */
export function centred(moments: Moments): Moments {
  const { kind, second } = checked(moments, 'centred');
  const side = kind === 'diagonal' ? second.length : Math.sqrt(second.length);
  const mean = meanOf(moments, side);
  const about = second.slice();
  if (kind === 'diagonal') {
    // Not below 0, where rounding has made the mean larger than the second moment allows.
    for (let j = 0; j < side; j++) about[j] = Math.max(0, about[j]! - mean[j]! ** 2);
  } else {
    for (let i = 0; i < side; i++) {
      for (let j = 0; j < side; j++) about[i * side + j]! -= mean[i]! * mean[j]!;
    }
  }
  return { ...moments, second: about, mean: new Float64Array(side) };
}

/**
 * What to add to the bias of a layer y = W x + b when W is replaced by B A: (W - B A) mu, so that the mean of y stays what
 * it was. From moments of the outputs, whose factors are B = U and A = U^T W, it is (I - U U^T) times their mean.
 *
 * @param w - [m, n].
 * @returns m numbers.
 * @throws ArgumentError where shapes do not fit or the mean is missing.
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
