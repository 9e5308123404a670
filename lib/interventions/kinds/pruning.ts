import { elements } from '../../tensor/tensor.js';
import { SHARE } from '../amount.js';
import { prune, thresholdIndex } from '../prune.js';
import type { Kind } from './kind.js';

/** Sets numbers of small absolute value to 0: LASER's dropout. */
export const pruning = {
  kind: 'dropout',
  amount: SHARE,
  resolve: (amount, [m, n]) => {
    const threshold = thresholdIndex(amount, m * n);
    return { rank: undefined, threshold, identity: threshold === undefined };
  },
  keeps: undefined,
  isBest: false,
  isRandom: false,
  onlyZeros: true,
  findsNotFinite: false,
  keptInWords: 'not chosen by component',
  cost: () => 0,
  // Finding the threshold reorders a copy of each matrix.
  memory: ({ shape }) => 4 * elements(shape.slice(-2)),
  apply: async ({ shape, threshold }, data) => {
    const count = elements(shape.slice(-2));
    if (threshold !== undefined) {
      for (let at = 0; at < data.length; at += count) prune(data.subarray(at, at + count), threshold);
    }
    return { data, certified: undefined };
  },
} as const satisfies Kind;
