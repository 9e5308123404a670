import {
  CALL_OPTIONS,
  type CallOptions,
  callAsync,
  callSync,
  pinned,
  pinnedInPlace,
  threadCount,
} from '../addon/call.js';
import { type ApproximateJob, CERTIFICATE_FIELDS, METHOD_CODE } from '../addon/contract.js';
import { addon } from '../addon/load.js';
import type { Beside } from '../addon/side-by-side.js';
import { ArgumentError } from '../errors.js';
import { number, type OptionTypes, oneOf } from '../options.js';
import { asMatrices, type Matrices, type TensorLike } from '../tensor/tensor.js';
import { type Certificate, combined, readCertificates } from './certificate.js';
import { type Moments, momentsJob } from './moments.js';
import { type RankChoice, rankJob } from './rank.js';

/**
 * `auto` tries the cheapest method first; `krylov` (block Lanczos) and `gram` (eigenvectors of the
 * Gram matrix) put that method first; each hands over to the next where it cannot prove its result.
 * `exact` is LAPACK's SVD alone.
 */
export type Method = keyof typeof METHOD_CODE;
export const METHODS = Object.keys(METHOD_CODE) as Method[];

export interface ComputeOptions extends CallOptions {
  /** `auto` by default. */
  method?: Method | undefined;
  /**
   * The seed of the random start of `krylov`, 0 by default. The same seed and threads give the same
   * bits.
   */
  seed?: number | undefined;
  /**
   * The excess over the smallest possible error up to which a result is accepted, 1e-6 by default.
   */
  target?: number | undefined;
  /**
   * Native work memory that may be used, in bytes; a job that needs more is refused with
   * `ERR_MEMORY`.
   */
  maxMemory?: number | undefined;
}

export const COMPUTE_OPTIONS: OptionTypes<ComputeOptions> = {
  ...CALL_OPTIONS,
  method: oneOf(METHODS),
  seed: number,
  target: number,
  maxMemory: number,
};

/** The weights of the error: see {@link Moments}. */
export interface WeightOptions {
  /**
   * Weighs the error by what the matrix multiplies: the mean of |(W - B A) x|^2 is smallest,
   * instead of |W - B A|_F.
   */
  moments?: Moments | undefined;
}

/** The output of the addon. */
type Wanted = 'factors' | 'dense' | 'in place';

/** A native job of {@link factorize} or {@link laser}. All approximations go through it. */
export interface Approximation {
  readonly matrices: Matrices;
  readonly job: ApproximateJob;
  readonly certificates: Certificate[];
  readonly certificate: Certificate;
}

export async function approximate(
  w: TensorLike,
  options: RankChoice & ComputeOptions & WeightOptions & Beside,
  wanted: Wanted,
): Promise<Approximation> {
  const { matrices, job } = prepared(w, options, wanted);
  const begin = performance.now();
  if (wanted === 'in place') pinnedInPlace(job.w);
  const { moments } = job;
  const given = { ...(wanted !== 'in place' && { w: pinned(job.w) }), ...(moments && { moments: pinned(moments) }) };
  await callAsync(addon().approximateAsync, { ...job, ...given }, options);
  return finished(matrices, job, begin);
}

export function approximateSync(
  w: TensorLike,
  options: RankChoice & ComputeOptions & WeightOptions,
  wanted: Wanted,
): Approximation {
  const { matrices, job } = prepared(w, options, wanted);
  const begin = performance.now();
  callSync(addon().approximate, job);
  return finished(matrices, job, begin);
}

/** Returns the rank and method fields of a job from the caller's options. */
export function methodJob(
  options: RankChoice & Pick<ComputeOptions, 'method' | 'seed' | 'target'>,
  m: number,
  n: number,
) {
  const { method = 'auto', seed = 0, target = 1e-6 } = options;
  if (!Number.isSafeInteger(seed) || seed < 0) throw new ArgumentError('seed', 'a whole number of at least 0', seed);
  if (!(target > 0)) throw new ArgumentError('target', 'a number above 0', target);
  return { ...rankJob(options, m, n), method: METHOD_CODE[method], seed, target };
}

function prepared(w: TensorLike, options: RankChoice & ComputeOptions & WeightOptions & Beside, wanted: Wanted) {
  const { threads, alongside, maxMemory = 0 } = options;
  if (!Number.isSafeInteger(maxMemory) || maxMemory < 0) {
    throw new ArgumentError('maxMemory', 'a whole number of bytes', maxMemory);
  }
  const matrices = asMatrices(w, 'w');
  const { data, batch, m, n } = matrices;
  if (wanted === 'in place' && data.length > 0 && data.buffer !== w.data.buffer) {
    throw new ArgumentError(
      'inPlace',
      'a row-major matrix to overwrite',
      'a strided view',
      'ERR_ARGUMENT',
      'Leave inPlace out and assign the result to the view.',
    );
  }
  const choice = methodJob(options, m, n);
  // If the rank is found during the computation, there must be room for all; pages never written
  // cost nothing.
  const capacity = choice.rank ?? Math.min(m, n);
  const job: ApproximateJob = {
    ...choice,
    batch,
    m,
    n,
    w: data,
    ...(wanted === 'factors' && {
      capacity,
      b: new Float32Array(batch * m * capacity),
      a: new Float32Array(batch * capacity * n),
      s: new Float32Array(batch * capacity),
    }),
    ...(wanted === 'dense' && { dense: new Float32Array(data.length) }),
    ...(wanted === 'in place' && { dense: data }),
    ...(options.moments && momentsJob(options.moments, matrices)),
    threads: threadCount(threads),
    ...(alongside !== undefined && { alongside }),
    maxMemory,
    out: new Float64Array(batch * CERTIFICATE_FIELDS.length),
  };
  return { matrices, job };
}

function finished(matrices: Matrices, job: ApproximateJob, begin: number): Approximation {
  const certificates = readCertificates(job.out);
  const certificate = combined(certificates, (performance.now() - begin) / 1000);
  return { matrices, job, certificates, certificate };
}
