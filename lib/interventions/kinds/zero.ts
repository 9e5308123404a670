import { elements } from '../../tensor/tensor.js';
import { NO_AMOUNT } from '../amount.js';
import type { Kind } from './kind.js';

/** Sets all numbers to 0. */
export const zero = {
  kind: 'zero',
  amount: NO_AMOUNT,
  resolve: () => ({ rank: undefined, threshold: undefined, identity: false }),
  keeps: undefined,
  isBest: false,
  isRandom: false,
  onlyZeros: false,
  findsNotFinite: false,
  keptInWords: 'nothing is kept',
  cost: () => 0,
  // More than needed: memory is planned as for pruning.
  memory: ({ shape }) => 4 * elements(shape.slice(-2)),
  apply: async (_, data) => ({ data: data.fill(0), certified: undefined }),
} as const satisfies Kind;
