import { callSync, threadCount } from '../addon/call.js';
import { addon } from '../addon/load.js';
import { checkOptions, type OptionTypes, oneOf } from '../options.js';
import { asDimensions } from '../tensor/tensor.js';
import { COMPUTE_OPTIONS, type ComputeOptions, methodJob } from './approximate.js';
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

const ESTIMATE_OPTIONS: OptionTypes<Parameters<typeof estimateMemory>[1]> = {
  ...RANK_CHOICE,
  method: COMPUTE_OPTIONS.method,
  threads: COMPUTE_OPTIONS.threads,
  result: oneOf(['dense', 'in place', 'factors']),
};

/**
 * Estimates a job's memory before it runs: every buffer of the method that would be used, including
 * LAPACK's workspaces.
 *
 * @param shape - [m, n] or [batch, m, n].
 * @param options - as for the job itself; `result` selects {@link laser} (`dense`, the default),
 *   `laser` with `inPlace`, or {@link factorize} (`factors`).
 * @throws LowRankError `ERR_MEMORY` if LAPACK could not address the workspace, `ERR_SHAPE`,
 *   `ERR_ARGUMENT`.
 */
export function estimateMemory(
  shape: readonly number[],
  options: RankChoice & Pick<ComputeOptions, 'method' | 'threads'> & { result?: 'dense' | 'in place' | 'factors' },
): MemoryEstimate {
  const { batch, m, n } = asDimensions(shape, 'shape');
  const given = checkOptions(options, ESTIMATE_OPTIONS, 'estimateMemory');
  const { result = 'dense', threads } = given;
  const choice = methodJob(given, m, n);
  const { planned: native, worst } = callSync(addon().estimateApproximate, {
    ...choice,
    batch,
    m,
    n,
    factors: result === 'factors',
    dense: result === 'dense',
    threads: threadCount(threads),
  });
  const k = choice.rank ?? Math.min(m, n);
  const numbers = { dense: m * n, 'in place': 0, factors: k * (m + n + 1) }[result];
  const output = 4 * batch * numbers;
  return { native, worst, output, total: native + output };
}
