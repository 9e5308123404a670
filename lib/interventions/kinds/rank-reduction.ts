import { estimateMemory } from '../../lowrank/estimate.js';
import { countOfShare, SHARE } from '../amount.js';
import { costOfDecomposition, places, resolvedComponents } from './components.js';
import type { Kind, MatrixTask, MemoryOptions } from './kind.js';

/**
 * Keeps the first k components, the best approximation of rank k: LASER itself (Sharma, Ash and
 * Misra 2023).
 */
export const rankReduction = {
  kind: 'rank-reduction',
  amount: SHARE,
  resolve: (amount, [m, n]) => resolvedComponents(countOfShare('rank-reduction', amount, Math.min(m, n)), m, n),
  keeps: (amount, full) => places(0, countOfShare('rank-reduction', amount, full)),
  isBest: true,
  isRandom: false,
  onlyZeros: false,
  findsNotFinite: true,
  keptInWords: '',
  cost: costOfDecomposition,
  memory: ({ shape, rank }: Pick<MatrixTask, 'shape' | 'rank'>, { method, threads, field }: MemoryOptions) =>
    estimateMemory(shape, { rank: rank!, method, threads, result: 'in place' })[field],
  apply: ({ shape, rank }, data, decomposer) => decomposer.truncate({ data, shape }, rank!),
} as const satisfies Kind;
