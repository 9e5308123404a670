import { extract, type Slice, scatter } from '../model/slice.js';
import { blockOf, type StoredType } from './dtype.js';

/** How numbers, or blocks of numbers, of a tensor lie in its bytes. */
export interface Grid {
  /** The tensor's shape, counted in blocks. */
  readonly shape: readonly number[];
  readonly slice: Slice | undefined;
  readonly itemBytes: number;
}

/**
 * The slice of a tensor as whole blocks; undefined where it cuts through blocks, so that its bytes cannot be told from
 * those of the rest.
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

/** The bytes of the grid's slice; without a slice, `bytes` itself. */
export function takeOut(bytes: Uint8Array, { shape, slice, itemBytes }: Grid): Uint8Array {
  return extract(bytes, shape, slice, itemBytes);
}

/** The reverse of {@link takeOut}. */
export function putBack(part: Uint8Array, bytes: Uint8Array, { shape, slice, itemBytes }: Grid): void {
  scatter(part, bytes, shape, slice, itemBytes);
}

/** Bytes of so many numbers, which fill whole blocks. */
export function storedBytes(count: number, type: StoredType): number {
  const { numbers, bytes } = blockOf(type);
  return Math.ceil(count / numbers) * bytes;
}
