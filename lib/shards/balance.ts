import type { Edit } from '../interventions/edit.js';
import { kindOf } from '../interventions/kinds/kinds.js';
import { elements } from '../tensor/tensor.js';

/** Operations for a number that is only read, pruned or written. */
const PASSING = 100;

/**
 * Estimates the cost of an edit in operations: the intervention itself, and the time for each
 * number. Factors that depend on the method are left out. Only the proportions matter.
 */
export function costOf({ shape, intervention, identity }: Edit): number {
  if (identity) return 0;
  return kindOf(intervention.kind).cost(shape) + PASSING * elements(shape);
}

/**
 * Assigns tasks to shards, most expensive first, each to the shard with the least load (Graham
 * 1969, longest processing time first: at most a third above the best possible). Equal costs give
 * equal results.
 *
 * @returns for each shard the numbers of its tasks, ascending
 */
export function balance(costs: readonly number[], shards: number): number[][] {
  const order = costs.map((_, task) => task).sort((a, b) => costs[b]! - costs[a]! || a - b);
  // A heap with the least loaded shard at the root, of equals the first.
  const heap = Array.from({ length: shards }, (_, shard) => ({ shard, load: 0, tasks: [] as number[] }));
  const dealt = heap.map(({ tasks }) => tasks);
  for (const task of order) {
    heap[0]!.load += costs[task]!;
    heap[0]!.tasks.push(task);
    sink(heap);
  }
  return dealt.map((tasks) => tasks.sort((a, b) => a - b));
}

interface Load {
  readonly shard: number;
  readonly load: number;
}

/** Moves the root, which has grown, to its place. */
function sink(heap: Load[]): void {
  const isLess = (a: Load, b: Load) => a.load < b.load || (a.load === b.load && a.shard < b.shard);
  for (let at = 0; ; ) {
    const [left, right] = [2 * at + 1, 2 * at + 2];
    let least = at;
    if (left < heap.length && isLess(heap[left]!, heap[least]!)) least = left;
    if (right < heap.length && isLess(heap[right]!, heap[least]!)) least = right;
    if (least === at) return;
    [heap[at], heap[least]] = [heap[least]!, heap[at]!];
    at = least;
  }
}
