import { LowRankError } from '../errors.js';

/** Halvings of the interval of budgets: the result is within 1/256 of the smallest. */
const HALVINGS = 8;

/**
 * Finds the smallest budget whose divergence is within a limit, by bisection: the divergence grows
 * as the budget shrinks.
 *
 * @param most the budget at which nothing changes
 * @param least the smallest budget; above 0
 * @param measure what becomes of a budget, and its divergence; `ERR_UNSUPPORTED` for a budget that
 *   is too small
 * @returns the result for that budget; undefined if no budget below `most` is within the limit
 */
export async function smallestWithin<T>(
  limit: number,
  [least, most]: readonly [least: number, most: number],
  measure: (budget: number) => Promise<{ readonly result: T; readonly divergence: number }>,
): Promise<T | undefined> {
  let [low, high] = [least, most];
  let best: T | undefined;
  for (let i = 0; i < HALVINGS; i++) {
    const budget = (low + high) / 2;
    const found = await measure(budget).catch((error: unknown) => {
      if (error instanceof LowRankError && error.code === 'ERR_UNSUPPORTED') return undefined;
      throw error;
    });
    if (found !== undefined && found.divergence <= limit) {
      best = found.result;
      high = budget;
    } else low = budget;
  }
  return best;
}
