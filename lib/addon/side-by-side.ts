/**
 * Computing independent matrices side by side. A decomposition has steps that no two threads can
 * share, so two of them on a core each are faster than one after the other on both. What comes out
 * does not depend on it: a job that takes fewer cores computes what all `threads` would.
 */

/** What a native job is told of the others beside it. */
export interface Beside {
  /** The cores that it takes, fewer than `threads`; undefined for all. */
  readonly alongside?: number | undefined;
}

/** Bytes that items beside each other may hold together where no limit is given. */
export const BESIDE_BYTES = 2 ** 30;

/**
 * Returns how many items may be worked on at a time: as many as there are threads, and as few as
 * fit into the limit even if they are the largest; at least one.
 *
 * @param needs the bytes that each item holds meanwhile
 */
export function countBeside(needs: readonly number[], threads: number, limit = BESIDE_BYTES): number {
  const largest = [...needs].sort((a, b) => b - a).slice(0, threads);
  let held = 0;
  const over = largest.findIndex((bytes) => {
    held += bytes;
    return held > limit;
  });
  return Math.max(over < 0 ? largest.length : over, 1);
}

/**
 * Calls `work` for each item, in order, for up to `count` of them at a time. The last one takes all
 * cores if nothing is left beside it. After a failure no further item begins; the failure of the
 * first item that failed is thrown when those that run have ended.
 */
export async function sideBySide<T>(
  items: readonly T[],
  { count, threads }: { readonly count: number; readonly threads: number },
  work: (item: T, beside: Beside) => Promise<void>,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const failures = new Map<number, unknown>();
  for (const [index, item] of items.entries()) {
    while (running.size >= count) await Promise.race(running);
    if (failures.size > 0) break;
    const alone = count === 1 || (index === items.length - 1 && running.size === 0);
    const beside = alone ? {} : { alongside: Math.max(Math.floor(threads / count), 1) };
    const one: Promise<void> = work(item, beside)
      .catch((error: unknown) => void failures.set(index, error))
      .finally(() => running.delete(one));
    running.add(one);
  }
  await Promise.all(running);
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()));
}
