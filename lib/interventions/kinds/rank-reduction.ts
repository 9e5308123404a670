import { estimateMemory } from '../../lowrank/estimate.js';
import { type Amount, countOfShare, RANK } from '../amount.js';
import { costOfDecomposition, places, resolvedComponents } from './components.js';
import type { Kind, MatrixTask, MemoryOptions, Truncation } from './kind.js';

/**
 * Keeps the first k components, the best approximation of rank k: LASER itself (Sharma, Ash and
 * Misra 2023).
 */
export const rankReduction = {
  kind: 'rank-reduction',
  amount: RANK,
  resolve: (amount, [m, n]) =>
    'energy' in amount
      ? { rank: undefined, threshold: undefined, identity: false }
      : resolvedComponents(countOfShare('rank-reduction', amount, Math.min(m, n)), m, n),
  keeps: (amount, full) => places(0, countOfShare('rank-reduction', amount, full)),
  isBest: true,
  isRandom: false,
  onlyZeros: false,
  findsNotFinite: true,
  keptInWords: '',
  cost: costOfDecomposition,
  memory: (task: Pick<MatrixTask, 'shape' | 'rank' | 'amount'>, { method, threads, field }: MemoryOptions) =>
    estimateMemory(task.shape, { ...choiceOf(task), method, threads, result: 'in place' })[field],
  apply: (task, data, decomposer) => decomposer.truncate({ data, shape: task.shape }, choiceOf(task)),
} as const satisfies Kind;

/** An energy is known only to the decomposition, anything else was settled before it. */
function choiceOf({ rank, amount }: { readonly rank: number | undefined; readonly amount: Amount }): Truncation {
  return 'energy' in amount ? { energy: amount.energy } : { rank: rank! };
}
