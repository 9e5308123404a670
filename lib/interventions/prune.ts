import { ArgumentError } from '../errors.js';
import { rankOfFraction } from '../lowrank/rank.js';
import type { Amount } from './amount.js';

/**
 * Returns the index of LASER's pruning threshold among the `count` absolute values in ascending
 * order: undefined if nothing is pruned, `count` if everything is. A rate follows the arithmetic of
 * the paper's code, `int(rate * 0.1 * count)`, a share to keep the decimal number as written.
 */
export function thresholdIndex(amount: Amount, count: number): number | undefined {
  if ('rate' in amount) return amount.rate === 0 ? undefined : Math.trunc(amount.rate * 0.1 * count);
  if (!('rankFraction' in amount)) throw new ArgumentError('amount', 'one share', amount);
  if (amount.rankFraction === 1) return undefined;
  // 1 - 0.9 is 0.09999999999999998; rounding to fifteen digits restores 0.1.
  return rankOfFraction(Number((1 - amount.rankFraction).toPrecision(15)), count);
}

/**
 * Prunes by absolute weight as LASER does: sets every number to 0 whose absolute value is at most
 * that of the number at `index` in ascending order. That is one more than `index` numbers, and all
 * that tie with the last of them. In place.
 *
 * @param index from {@link thresholdIndex}; from `matrix.length` on, all numbers become 0 (the
 *   paper's code fails there)
 */
export function prune(matrix: Float32Array, index: number): void {
  if (index >= matrix.length) {
    matrix.fill(0);
    return;
  }
  const threshold = nthSmallest(
    matrix.map((x) => Math.abs(x)),
    index,
  );
  for (let i = 0; i < matrix.length; i++) {
    if (Math.abs(matrix[i]!) <= threshold) matrix[i] = 0;
  }
}

/**
 * Returns the number that would be at `index` if `numbers` were sorted; reorders them. Hoare's FIND
 * (1961) with the median of three as pivot takes linear time on average, even if numbers repeat.
 */
function nthSmallest(numbers: Float32Array, index: number): number {
  let low = 0;
  let high = numbers.length - 1;
  while (low < high) {
    const pivot = medianOfThree(numbers[low]!, numbers[(low + high) >>> 1]!, numbers[high]!);
    let i = low;
    let j = high;
    while (i <= j) {
      while (numbers[i]! < pivot) i++;
      while (pivot < numbers[j]!) j--;
      if (i > j) break;
      const swapped = numbers[i]!;
      numbers[i++] = numbers[j]!;
      numbers[j--] = swapped;
    }
    if (index <= j) high = j;
    else if (index >= i) low = i;
    else break;
  }
  return numbers[index]!;
}

function medianOfThree(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}
