/**
 * The native addon as TypeScript sees it: only numbers and typed arrays. Every output array is
 * allocated here and written there. Functions come in pairs: the plain one computes before it
 * returns, the `Async` one on a thread of the addon. native/node/ is the other side of this file;
 * test/unit/addon/contract.test.ts compares the names and codes of both.
 */

import type { QuantizeBlocksJob, QuantizeChannelsJob, WeightedSquaresJob } from './quantize-jobs.js';

/** Fields of every computing job. */
export interface Job {
  /**
   * Threads to use, 0 or absent for the default. They affect at most the last bits of the result.
   */
  threads?: number;
  /**
   * The cores that a single matrix takes, fewer than `threads`, so that other jobs are computed
   * beside it; 0 or absent for all. The result is that of `threads`, to the last bit.
   */
  alongside?: number;
  /**
   * `[cancel, progress]`: a non-zero first element stops the job; the second is the finished share
   * in parts per million.
   */
  control?: Int32Array;
}

/** Codes of float formats: {@link Codes.floatFormats}. */
export const FLOAT_FORMAT_CODE = { F64: 0, F32: 1, F16: 2, BF16: 3 } as const;

interface ConvertJob {
  format: number;
  count: number;
}

/**
 * `c = op(a) op(b)` for each matrix of the batch: `op(a)` is m x k, `op(b)` k x n, `c` m x n, all
 * row-major.
 */
export interface GemmJob extends Job {
  batch: number;
  m: number;
  n: number;
  k: number;
  transposeA: boolean;
  transposeB: boolean;
  a: Float32Array;
  b: Float32Array;
  c: Float32Array;
}

/** Makes branches reachable that no matrix of a test would reach. */
interface TestHooks {
  /** Treats gesdd as not converged, so that gesvd takes over. */
  pretendGesddFails?: boolean;
  /** Limits the subspace of `krylov`. */
  maxDimension?: number;
  /** Brings Gram matrices of any order to tridiagonal form in two stages. */
  twoStages?: boolean;
}

/**
 * Thin SVD of each m x n matrix of the batch, r = min(m, n). Without `u` and `vt`, only the
 * singular values.
 */
export interface SvdJob extends Job {
  batch: number;
  m: number;
  n: number;
  w: Float32Array;
  /** batch x r, descending. */
  s: Float32Array;
  /** batch x m x r. */
  u?: Float32Array;
  /** batch x r x n. */
  vt?: Float32Array;
  /** The values alone, from the Gram matrix in float64. */
  gram?: boolean;
  /** QR iteration (gesvd) instead of divide and conquer (gesdd). */
  gesvd?: boolean;
  testHooks?: TestHooks;
  /** batch codes of {@link SVD_DRIVERS}, for what they computed. */
  out: Float64Array;
}

/** The drivers, indexed by their codes: {@link Codes.svdDrivers}. */
export const SVD_DRIVERS = ['gesdd', 'gesvd'] as const;

/**
 * How to choose the rank: either `rank`, or the smallest rank that discards at most the share
 * `tail` of the energy, the sum of s_i^2.
 */
interface RankJob {
  rank?: number;
  tail?: number;
  /**
   * The difference between `tail` as a float64 and the decimal number that was written, so that
   * shares that are met exactly are recognised.
   */
  tailRest?: number;
  /** A code of {@link METHOD_CODE}. */
  method: number;
  /**
   * The seed of the random start of `krylov`, together with a digest of the matrix; a whole number
   * below 2^53.
   */
  seed?: number;
  /** The share by which |W - What|_F may exceed the smallest possible error. */
  target?: number;
  testHooks?: TestHooks;
}

/** Codes of methods: {@link Codes.methods}. */
export const METHOD_CODE = { auto: 0, exact: 1, gram: 2, krylov: 3 } as const;

/** Codes of kinds of moments: {@link Codes.momentsKinds}. */
export const MOMENTS_CODE = { inputs: 0, diagonal: 1, outputs: 2 } as const;

/**
 * Best rank-k approximation of each m x n matrix of the batch: factors `b a`, the dense product, or
 * both.
 */
export interface ApproximateJob extends Job, RankJob {
  batch: number;
  m: number;
  n: number;
  w: Float32Array;
  /** The columns allocated for `b`, and the rows for `a`. */
  capacity?: number;
  /** batch x m x capacity; a matrix uses the first m * k numbers of its part. */
  b?: Float32Array;
  /** batch x capacity x n; a matrix uses the first k * n numbers of its part. */
  a?: Float32Array;
  /** batch x capacity. */
  s?: Float32Array;
  /** batch x m x n; may be `w`. */
  dense?: Float32Array;
  /**
   * Second moments that weigh the error of one matrix: n x n of its inputs, n on the diagonal, m x
   * m of its outputs.
   */
  moments?: Float64Array;
  /** A code of {@link MOMENTS_CODE}. */
  momentsKind?: number;
  /** Bytes of native memory that may be used, 0 or absent for no limit. */
  maxMemory?: number;
  /** batch x {@link CERTIFICATE_FIELDS}. */
  out: Float64Array;
}

/** The numbers of one certificate, in order: {@link Codes.certificateFields}. */
export const CERTIFICATE_FIELDS = [
  'rank',
  'route',
  'norm',
  'error',
  'spectralError',
  'excessBound',
  'tried',
  'seconds',
  'bytes',
] as const;

/** The routes to a result, indexed by their codes: {@link Codes.routes}. */
export const ROUTES = ['copy', 'zero', 'krylov', 'gram', 'gram64', 'complement', 'gesdd', 'gesvd'] as const;
export type Route = (typeof ROUTES)[number];

/** Sums of rows and of their products, added to what is there. */
interface AccumulateMomentsJob extends Job {
  rows: number;
  n: number;
  /** Sums the squares alone. */
  diagonal: boolean;
  /** rows x n. */
  x: Float32Array;
  /** n. */
  sum: Float64Array;
  /** n x n, of which the lower triangle is used; n on the diagonal. */
  second: Float64Array;
}

/**
 * All rows of `b` (m x k, of rank k) from k of them: row `order[k + j]` is row j of `c` times rows
 * `order[0]` to `order[k - 1]`.
 */
interface InterpolateJob extends Job {
  m: number;
  k: number;
  b: Float32Array;
  /** m. */
  order: Int32Array;
  /** (m - k) x k. */
  c: Float32Array;
}

/** An orthonormal basis of the rows of `a` (k x n, k <= n), in order, written over them. */
interface OrthonormaliseJob {
  k: number;
  n: number;
  a: Float32Array;
}

/** The map `x -> scale (x A) B`: `a` is dim x r, `b` r x dimOut. */
interface LowRankMapJob {
  dim: number;
  dimOut: number;
  r: number;
  scale: number;
  a: Float32Array;
  b: Float32Array;
  threads?: number;
}

/** `h = x A`, `y = scale h B`, or added to `y`. */
interface LoraForwardJob extends LowRankMapJob {
  rows: number;
  /** rows x dim. */
  x: Float32Array;
  /** rows x r, for the backward pass. */
  h: Float32Array;
  /** rows x dimOut. */
  y: Float32Array;
  add: boolean;
}

/**
 * The gradients of a forward pass with `x` and `h`; each is written, or added to existing values.
 */
interface LoraBackwardJob extends LowRankMapJob {
  rows: number;
  x: Float32Array;
  h: Float32Array;
  gradY: Float32Array;
  /** rows x r, work memory. */
  gradH: Float32Array;
  gradA: Float32Array;
  addA: boolean;
  gradB: Float32Array;
  addB: boolean;
  gradX: Float32Array;
  addX: boolean;
}

/** `y = x W + bias`: `x` is rows x dim, `w` dim x dimOut, `bias` dimOut numbers. */
interface AffineJob {
  rows: number;
  dim: number;
  dimOut: number;
  x: Float32Array;
  w: Float32Array;
  bias?: Float32Array;
  y: Float32Array;
  threads?: number;
}

/** Each element is dropped with a probability below 1, or divided by 1 - probability. */
interface DropoutJob {
  count: number;
  probability: number;
  seed: number;
  /** The position in the seed's stream of random numbers at which this array starts. */
  offset: number;
  source: Float32Array;
  target: Float32Array;
  add: boolean;
}

interface SgdJob {
  count: number;
  p: Float32Array;
  gradient: Float32Array;
  velocity?: Float32Array;
  rate: number;
  weightDecay: number;
  momentum: number;
  dampening: number;
  nesterov: boolean;
  /** Whether the velocity has no past. */
  first: boolean;
  threads?: number;
}

interface AdamWJob {
  count: number;
  p: Float32Array;
  gradient: Float32Array;
  mean: Float32Array;
  square: Float32Array;
  rate: number;
  weightDecay: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  /** From 1. */
  step: number;
  threads?: number;
}

/** The names of all codes in the addon: each name is at the index of its code. */
interface Codes {
  floatFormats: string[];
  svdDrivers: string[];
  methods: string[];
  routes: string[];
  momentsKinds: string[];
  roundings: string[];
  certificateFields: string[];
}

export interface Addon {
  /**
   * Returns OpenBLAS' version, the kernel it selected for this processor, and the default number of
   * threads; the vector instructions of our own kernels (`LOWRANK_SIMD` in the environment selects
   * others), and all those that this processor has, narrowest first. Throws `ERR_ARGUMENT` if
   * `LOWRANK_SIMD` names none of them.
   */
  info(): { openblas: string; kernel: string; threads: number; simd: string; simdPaths: string[]; codes: Codes };
  /** Returns the bytes of native work memory, now and at most so far. */
  memory(): { now: number; peak: number };
  /** Restarts the measurement of the peak; returns the old peak. */
  resetPeak(job: object): number;
  /**
   * Estimates the peak of a job's native work memory in bytes: by the planned route, and by the
   * most expensive one of its plan. `momentsKind` is a code of {@link MOMENTS_CODE}, for a job with
   * moments.
   */
  estimateApproximate(
    job: RankJob & {
      batch: number;
      m: number;
      n: number;
      factors: boolean;
      dense: boolean;
      momentsKind?: number;
      threads?: number;
    },
  ): { planned: number; worst: number };
  /** Converts bytes of a float format, at any alignment, to float32. */
  toFloat32(job: ConvertJob & { source: Uint8Array; target: Float32Array }): void;
  /** Converts float32 to the bytes of a format, rounded to nearest, ties to even. */
  fromFloat32(job: ConvertJob & { source: Float32Array; target: Uint8Array }): void;
  gemm(job: GemmJob): void;
  gemmAsync(job: GemmJob): Promise<void>;
  svd(job: SvdJob): void;
  svdAsync(job: SvdJob): Promise<void>;
  approximate(job: ApproximateJob): void;
  approximateAsync(job: ApproximateJob): Promise<void>;
  accumulateMoments(job: AccumulateMomentsJob): void;
  accumulateMomentsAsync(job: AccumulateMomentsJob): Promise<void>;
  interpolate(job: InterpolateJob): void;
  interpolateAsync(job: InterpolateJob): Promise<void>;
  quantizeBlocksAsync(job: Job & QuantizeBlocksJob): Promise<void>;
  quantizeChannelsAsync(job: Job & QuantizeChannelsJob): Promise<void>;
  weightedSquaresAsync(job: Job & WeightedSquaresJob): Promise<void>;
  orthonormaliseRows(job: OrthonormaliseJob): void;
  loraForward(job: LoraForwardJob): void;
  loraBackward(job: LoraBackwardJob): void;
  /** `w` (dim x dimOut) `+= scale A B`. */
  addLowRank(job: LowRankMapJob & { w: Float32Array }): void;
  affine(job: AffineJob): void;
  dropout(job: DropoutJob): void;
  sgdStep(job: SgdJob): void;
  adamWStep(job: AdamWJob): void;
  /** Writes the sum of squares, in float64, to the only element of `out`. */
  sumOfSquares(job: { count: number; x: Float32Array; out: Float64Array }): void;
  scale(job: { count: number; x: Float32Array; factor: number }): void;
}
