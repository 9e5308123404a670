import { callSync, threadCount } from '../addon/call.js';
import { MOMENTS_CODE } from '../addon/contract.js';
import { addon } from '../addon/load.js';
import { ArgumentError } from '../errors.js';
import { checkOptions, type OptionTypes, oneOf } from '../options.js';
import { asDimensions } from '../tensor/tensor.js';
import { COMPUTE_OPTIONS, type ComputeOptions, methodJob } from './approximate.js';
import { MOMENTS_KINDS, type MomentsKind } from './moments.js';
import { RANK_CHOICE, type RankChoice } from './rank.js';

/** The memory of a job in bytes. */
export interface MemoryEstimate {
  /**
   * Native work memory at its peak, with the method that is tried first: an upper bound of the
   * certificate's `bytes`.
   */
  readonly native: number;
  /** The same with the most expensive method to which that one may hand over. */
  readonly worst: number;
  /** The returned arrays. */
  readonly output: number;
  /** `native` and `output` together. The input belongs to the caller and is not included. */
  readonly total: number;
}

/** What a job computes, as far as its memory depends on it. */
export interface EstimateOptions extends Pick<ComputeOptions, 'method' | 'threads'> {
  /**
   * What is returned: {@link laser} (`dense`, the default), `laser` with `inPlace`, or
   * {@link factorize} (`factors`, the default with `moments`).
   */
  result?: 'dense' | 'in place' | 'factors' | undefined;
  /** The kind of moments by which {@link factorize} weighs the error of one matrix. */
  moments?: MomentsKind | undefined;
}

const ESTIMATE_OPTIONS: OptionTypes<RankChoice & EstimateOptions> = {
  ...RANK_CHOICE,
  method: COMPUTE_OPTIONS.method,
  threads: COMPUTE_OPTIONS.threads,
  result: oneOf(['dense', 'in place', 'factors']),
  moments: oneOf(MOMENTS_KINDS),
};

/**
 * Estimates a job's memory before it runs: every buffer of the method that would be used, including
 * LAPACK's workspaces. Moments belong to the caller, as the input does.
 *
 * @param shape - [m, n] or [batch, m, n].
 * @param options - as for the job itself
 * @throws LowRankError `ERR_MEMORY` if LAPACK could not address the workspace, `ERR_SHAPE`,
 *   `ERR_ARGUMENT`.
 */
export function estimateMemory(shape: readonly number[], options: RankChoice & EstimateOptions): MemoryEstimate {
  const { batch, m, n } = asDimensions(shape, 'shape');
  const given = checkOptions(options, ESTIMATE_OPTIONS, 'estimateMemory');
  const { moments, result = moments === undefined ? 'dense' : 'factors', threads } = given;
  if (moments !== undefined) {
    if (result !== 'factors') throw new ArgumentError('result', "'factors', with moments", result);
    if (shape.length !== 2) throw new ArgumentError('shape', 'one matrix, with moments', shape, 'ERR_SHAPE');
  }
  const choice = methodJob(given, m, n);
  const { planned: native, worst } = callSync(addon().estimateApproximate, {
    ...choice,
    batch,
    m,
    n,
    factors: result === 'factors',
    dense: result === 'dense',
    ...(moments !== undefined && { momentsKind: MOMENTS_CODE[moments] }),
    threads: threadCount(threads),
  });
  const k = choice.rank ?? Math.min(m, n);
  const numbers = { dense: m * n, 'in place': 0, factors: k * (m + n + 1) }[result];
  const output = 4 * batch * numbers;
  return { native, worst, output, total: native + output };
}
