import { blockOf, type StoredType } from './dtype.js';
import type { Grid, Slice } from './slice.js';

/**
 * Returns the slice of a tensor as whole blocks; undefined if it cuts through blocks, so that its
 * bytes cannot be separated from the rest.
 */
export function gridOf(shape: readonly number[], type: StoredType, slice: Slice | undefined): Grid | undefined {
  const { numbers, bytes } = blockOf(type);
  const whole = (count: number) => count % numbers === 0;
  if (!whole(shape.at(-1)!)) return undefined;
  const inBlocks = shape.with(-1, shape.at(-1)! / numbers);
  if (slice?.axis !== 'columns') return { shape: inBlocks, slice, itemBytes: bytes };
  if (!slice.ranges.every(([start, end]) => whole(start) && whole(end))) return undefined;
  const ranges = slice.ranges.map(([start, end]) => [start / numbers, end / numbers] as const);
  return { shape: inBlocks, slice: { axis: 'columns', ranges }, itemBytes: bytes };
}

/** Returns the bytes of this many numbers, which fill whole blocks. */
export function storedBytes(count: number, type: StoredType): number {
  const { numbers, bytes } = blockOf(type);
  return Math.ceil(count / numbers) * bytes;
}
