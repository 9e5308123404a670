import { elements } from '../../tensor/tensor.js';
import { keepsComponents } from '../components.js';
import type { Edit } from '../edit.js';

/** Operations that a number costs which is only looked at: reading, pruning, writing. */
const PASSING = 100;

/**
 * What an edit costs, in operations. A decomposition of an m x n matrix takes a multiple of m n min(m, n) (Golub and Van
 * Loan, Matrix Computations, section 8.6), whose factor depends on the method and is left out; the rest takes time for
 * each number. Only the proportions matter.
 */
export function costOf({ shape, intervention, identity }: Edit): number {
  if (identity) return 0;
  const numbers = elements(shape);
  const decomposition = keepsComponents(intervention.kind) ? numbers * Math.min(...shape.slice(-2)) : 0;
  return decomposition + PASSING * numbers;
}

/**
 * Deals tasks out to shards: the dearest first, each to the shard that has least so far (Graham 1969, longest processing
 * time first: at most a third above the best possible). The same for the same costs.
 *
 * @returns for each shard the numbers of its tasks, ascending
 */
export function balance(costs: readonly number[], shards: number): number[][] {
  const order = costs.map((_, task) => task).sort((a, b) => costs[b]! - costs[a]! || a - b);
  const dealt = Array.from({ length: shards }, () => ({ load: 0, tasks: [] as number[] }));
  for (const task of order) {
    const least = dealt.reduce((best, shard) => (shard.load < best.load ? shard : best));
    least.load += costs[task]!;
    least.tasks.push(task);
  }
  return dealt.map(({ tasks }) => tasks.sort((a, b) => a - b));
}
