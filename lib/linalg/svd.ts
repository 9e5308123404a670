import { CALL_OPTIONS, type CallOptions, callAsync, callSync, pinned, threadCount } from '../addon/call.js';
import { SVD_DRIVERS, type SvdJob } from '../addon/contract.js';
import { addon } from '../addon/load.js';
import type { Beside } from '../addon/side-by-side.js';
import { ArgumentError } from '../errors.js';
import { checkOptions, number, type OptionTypes, oneOf } from '../options.js';
import { asMatrices, type Matrices, shapeOf, Tensor, type TensorLike } from '../tensor/tensor.js';

/**
 * The thin SVD `w = u diag(s) vt`, r = min(m, n). For a batch every tensor has a leading batch
 * dimension.
 */
export interface Svd {
  /** [m, r], orthonormal columns. */
  readonly u: Tensor;
  /** [r], in descending order, not negative. */
  readonly s: Tensor;
  /** [r, n], orthonormal rows. */
  readonly vt: Tensor;
  /** LAPACK's routine that succeeded, one for each matrix: `gesvd` if `gesdd` did not converge. */
  readonly drivers: readonly (typeof SVD_DRIVERS)[number][];
}

export interface SvdOptions extends CallOptions {
  /**
   * `gesdd`, divide and conquer (the default), or `gesvd`, QR iteration: slower, needs less memory.
   * The singular values alone come from the Gram matrix in float64 by default, which is faster and
   * more accurate than either.
   */
  driver?: 'gesdd' | 'gesvd';
}

const SVD_OPTIONS: OptionTypes<SvdOptions> = { ...CALL_OPTIONS, driver: oneOf(SVD_DRIVERS) };

/**
 * Computes the exact thin singular value decomposition in float32 by LAPACK.
 *
 * @param w - [m, n] or [batch, m, n]; not modified.
 * @throws LowRankError `ERR_NOT_FINITE` for a NaN or an infinity, `ERR_NO_CONVERGENCE` if neither
 *   gesdd nor gesvd converges, `ERR_MEMORY` if a workspace does not fit LAPACK's 32-bit integers,
 *   `ERR_SHAPE`, `ERR_ARGUMENT`.
 */
export async function svd(w: TensorLike, options?: SvdOptions): Promise<Svd> {
  const given = checkOptions(options, SVD_OPTIONS, 'svd');
  const { matrices, job } = prepared(w, given, true);
  await callAsync(addon().svdAsync, { ...job, w: pinned(job.w) }, given);
  return result(matrices, job);
}

/** {@link svd}, computed before it returns. */
export function svdSync(w: TensorLike, options?: SvdOptions): Svd {
  const { matrices, job } = prepared(w, checkOptions(options, SVD_OPTIONS, 'svdSync'), true);
  callSync(addon().svd, job);
  return result(matrices, job);
}

/**
 * Computes only the singular values, [r] or [batch, r], in descending order: several times faster
 * than {@link svd}, and to float64's rounding of s_1^2 in their squares. Throws the same errors.
 */
export async function singularValues(w: TensorLike, options?: SvdOptions): Promise<Tensor> {
  return singularValuesBeside(w, checkOptions(options, SVD_OPTIONS, 'singularValues'));
}

/** {@link singularValues}, which may leave cores to other matrices. */
export async function singularValuesBeside(w: TensorLike, options: SvdOptions & Beside): Promise<Tensor> {
  const { matrices, job } = prepared(w, options, false);
  await callAsync(addon().svdAsync, { ...job, w: pinned(job.w) }, options);
  return values(matrices, job);
}

/** {@link singularValues}, computed before it returns. */
export function singularValuesSync(w: TensorLike, options?: SvdOptions): Tensor {
  const { matrices, job } = prepared(w, checkOptions(options, SVD_OPTIONS, 'singularValuesSync'), false);
  callSync(addon().svd, job);
  return values(matrices, job);
}

export interface MatrixRankOptions extends SvdOptions {
  /**
   * Singular values up to this count as zero; by default max(m, n) * s_1 * 2^-23, as
   * numpy.linalg.matrix_rank does.
   */
  tolerance?: number;
}

const MATRIX_RANK_OPTIONS: OptionTypes<MatrixRankOptions> = { ...SVD_OPTIONS, tolerance: number };

/**
 * Returns the number of singular values above a tolerance: a number, or one for each matrix of a
 * batch. Throws the errors of {@link svd}.
 */
export async function matrixRank(w: TensorLike, options?: MatrixRankOptions): Promise<number | number[]> {
  const { tolerance, ...rest } = checkOptions(options, MATRIX_RANK_OPTIONS, 'matrixRank');
  requireTolerance(tolerance);
  const matrices = asMatrices(w, 'w');
  const s = await singularValues(w, rest);
  return ranks(matrices, s, tolerance);
}

/** {@link matrixRank}, computed before it returns. */
export function matrixRankSync(w: TensorLike, options?: MatrixRankOptions): number | number[] {
  const { tolerance, ...rest } = checkOptions(options, MATRIX_RANK_OPTIONS, 'matrixRankSync');
  requireTolerance(tolerance);
  return ranks(asMatrices(w, 'w'), singularValuesSync(w, rest), tolerance);
}

const FLOAT32_EPSILON = 2 ** -23;

/** Counts the descending singular values of an m x n matrix that are non-zero in float32. */
export function numericalRank(s: Float32Array, m: number, n: number, tolerance?: number): number {
  const threshold = tolerance ?? Math.max(m, n) * (s[0] ?? 0) * FLOAT32_EPSILON;
  const index = s.findIndex((value) => !(value > threshold));
  return index < 0 ? s.length : index;
}

function ranks({ m, n, batch, batched }: Omit<Matrices, 'data'>, s: Tensor, tolerance?: number): number | number[] {
  const r = Math.min(m, n);
  const all = Array.from({ length: batch }, (_, i) =>
    numericalRank(s.data.subarray(i * r, (i + 1) * r), m, n, tolerance),
  );
  return batched ? all : all[0]!;
}

function requireTolerance(tolerance: number | undefined): void {
  if (tolerance !== undefined && !(tolerance >= 0))
    throw new ArgumentError('tolerance', 'a number of at least 0', tolerance);
}

function prepared(w: TensorLike, { driver, threads, alongside }: SvdOptions & Beside, vectors: boolean) {
  const matrices = asMatrices(w, 'w');
  const { data, batch, m, n } = matrices;
  const r = Math.min(m, n);
  const job: SvdJob = {
    batch,
    m,
    n,
    w: data,
    s: new Float32Array(batch * r),
    ...(vectors && { u: new Float32Array(batch * m * r), vt: new Float32Array(batch * r * n) }),
    gram: !vectors && driver === undefined,
    gesvd: driver === 'gesvd',
    out: new Float64Array(batch),
    threads: threadCount(threads),
    ...(alongside !== undefined && { alongside }),
  };
  return { matrices, job };
}

function values(matrices: Matrices, { s }: SvdJob): Tensor {
  return new Tensor(s, shapeOf(matrices, Math.min(matrices.m, matrices.n)));
}

function result(matrices: Matrices, job: SvdJob): Svd {
  const { m, n } = matrices;
  const r = Math.min(m, n);
  return {
    u: new Tensor(job.u!, shapeOf(matrices, m, r)),
    s: values(matrices, job),
    vt: new Tensor(job.vt!, shapeOf(matrices, r, n)),
    drivers: Array.from(job.out, (code) => SVD_DRIVERS[code]!),
  };
}
