import { describe, LowRankError } from '../errors.js';

/** From the first index up to, but not including, the second. */
export type Range = readonly [start: number, end: number];

/** Some rows or some columns of a matrix (of each matrix of a batch), and all of the other axis. */
export interface Slice {
  readonly axis: 'rows' | 'columns';
  /** Ascending, not empty, and not adjacent. */
  readonly ranges: readonly Range[];
}

/** The position of a slice's bytes within those of its tensor. */
export interface Grid {
  /** The tensor's shape in items: numbers, or blocks of numbers that are stored together. */
  readonly shape: readonly number[];
  readonly slice: Slice | undefined;
  readonly itemBytes: number;
}

/**
 * Returns the shape of a slice of a tensor `[m, n]` or `[batch, m, n]`; without a slice, the shape
 * itself.
 */
export function sliceShape(shape: readonly number[], slice?: Slice): readonly number[] {
  if (slice === undefined) return shape;
  checkFits(shape, slice);
  const length = slice.ranges.reduce((sum, [start, end]) => sum + end - start, 0);
  return slice.axis === 'rows' ? shape.with(-2, length) : shape.with(-1, length);
}

/**
 * Copies a slice out of a tensor. It works on bytes, so numbers outside the slice are never
 * converted and keep their last bit.
 *
 * @param bytes the tensor, row-major
 * @returns the slice, row-major and without gaps; without a slice, `bytes` itself
 */
export function extract(bytes: Uint8Array, { shape, slice, itemBytes }: Grid): Uint8Array {
  if (slice === undefined) return bytes;
  const out = new Uint8Array(sliceShape(shape, slice).reduce((product, d) => product * d, itemBytes));
  let at = 0;
  for (const [start, length] of runs(shape, slice)) {
    out.set(bytes.subarray(start * itemBytes, (start + length) * itemBytes), at);
    at += length * itemBytes;
  }
  return out;
}

/** Reverses {@link extract}: copies `part` to its place in `bytes`. */
export function scatter(part: Uint8Array, bytes: Uint8Array, { shape, slice, itemBytes }: Grid): void {
  if (slice === undefined) {
    if (part !== bytes) bytes.set(part);
    return;
  }
  let at = 0;
  for (const [start, length] of runs(shape, slice)) {
    bytes.set(part.subarray(at, at + length * itemBytes), start * itemBytes);
    at += length * itemBytes;
  }
}

/** Whether two slices of one tensor share an element; undefined stands for the whole tensor. */
export function overlap(a: Slice | undefined, b: Slice | undefined): boolean {
  if (a === undefined || b === undefined || a.axis !== b.axis) return true;
  return a.ranges.some(([start, end]) => b.ranges.some((other) => start < other[1] && other[0] < end));
}

/** Describes a slice in few words: `columns 64-127`, `rows 0-7, 24-31, ...`. */
export function describeSlice({ axis, ranges }: Slice): string {
  const shown = ranges.slice(0, 2).map(([start, end]) => `${start}-${end - 1}`);
  return `${axis} ${shown.join(', ')}${ranges.length > 2 ? ', ...' : ''}`;
}

/**
 * Yields the runs of consecutive elements of a slice, in its own row-major order, as [first,
 * length].
 */
function* runs(shape: readonly number[], { axis, ranges }: Slice): Generator<Range> {
  checkFits(shape, { axis, ranges });
  const [m, n] = shape.slice(-2) as [number, number];
  const batch = shape.slice(0, -2).reduce((product, d) => product * d, 1);
  for (let matrix = 0; matrix < batch; matrix++) {
    if (axis === 'rows') {
      for (const [start, end] of ranges) yield [(matrix * m + start) * n, (end - start) * n];
    } else {
      for (let row = 0; row < m; row++) {
        for (const [start, end] of ranges) yield [(matrix * m + row) * n + start, end - start];
      }
    }
  }
}

function checkFits(shape: readonly number[], { axis, ranges }: Slice): void {
  const limit = shape.at(axis === 'rows' ? -2 : -1) ?? 0;
  if (ranges.some(([start, end]) => start < 0 || start >= end || end > limit)) {
    throw new LowRankError('ERR_SHAPE', `slice ${describe(ranges)}: does not fit into ${limit} ${axis}`);
  }
}
