import { ArgumentError } from '../errors.js';

/** Numbers in row-major order, and their shape. */
interface Dense {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/**
 * What is taken along one axis: a position, which removes the axis; `[start, end]` without the end,
 * or `[start]` up to the last; null for all. Negative positions count from the end.
 */
export type AxisRange = number | readonly [start: number, end?: number] | null;

/** Returns the index in the data of the number at a position. */
export function offsetOf({ shape }: Dense, indexes: readonly number[]): number {
  if (indexes.length !== shape.length) {
    throw new ArgumentError('indexes', `${shape.length} positions, one for each axis of [${shape}]`, indexes);
  }
  return indexes.reduce((offset, index, axis) => offset * shape[axis]! + position(index, shape[axis]!, axis), 0);
}

/** Copies a part of an array. Axes without a range are taken whole. */
export function part(array: Dense, ranges: readonly AxisRange[]): Dense {
  const { shape } = array;
  if (ranges.length > shape.length) {
    throw new ArgumentError('ranges', `at most ${shape.length}, one for each axis of [${shape}]`, ranges);
  }
  const limits = shape.map((length, axis) => limitsOf(ranges[axis] ?? null, length, axis));
  const kept = limits.map(([start, end]) => end - start);
  const data = new Float32Array(kept.reduce((product, length) => product * length, 1));
  // Runs of the last axis are copied at once.
  const width = kept.at(-1) ?? 1;
  const outer = limits.slice(0, -1);
  const index = outer.map(([start]) => start);
  for (let to = 0; to < data.length; to += width) {
    const row = index.reduce((offset, i, axis) => offset * shape[axis]! + i, 0);
    const from = row * (shape.at(-1) ?? 1) + (limits.at(-1)?.[0] ?? 0);
    data.set(array.data.subarray(from, from + width), to);
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      if (index[axis]! < outer[axis]![1]) break;
      index[axis] = outer[axis]![0];
    }
  }
  return { data, shape: kept.filter((_, axis) => typeof ranges[axis] !== 'number') };
}

/** Returns a shape of `count` numbers in which one -1 is replaced by what remains. */
export function completed(shape: readonly number[], count: number): number[] {
  const open = shape.indexOf(-1);
  if (open < 0) return [...shape];
  const others = shape.reduce((product, length, axis) => (axis === open ? product : product * length), 1);
  return shape.with(open, others === 0 ? 0 : count / others);
}

/** Returns nested arrays, or the number of an array without axes. */
export function nested({ data, shape }: Dense): NestedNumbers | number {
  if (shape.length === 0) return data[0]!;
  const [length, ...rest] = shape as [number, ...number[]];
  const size = rest.reduce((product, dimension) => product * dimension, 1);
  return Array.from({ length }, (_, i) => nested({ data: data.subarray(i * size, (i + 1) * size), shape: rest }));
}

/** Arrays in arrays, all of one length on each level. */
export type NestedNumbers = (number | NestedNumbers)[];

function limitsOf(range: AxisRange, length: number, axis: number): readonly [start: number, end: number] {
  if (typeof range === 'number') {
    const start = position(range, length, axis);
    return [start, start + 1];
  }
  if (range !== null && !Array.isArray(range)) {
    throw new ArgumentError(`ranges[${axis}]`, 'a position, [start, end] or null for the whole axis', range);
  }
  const [start = 0, end = length] = (range ?? []) as readonly number[];
  const limits = [start, end].map((limit) => (limit < 0 ? limit + length : limit)) as [number, number];
  if (limits.every(Number.isSafeInteger) && 0 <= limits[0] && limits[0] <= limits[1] && limits[1] <= length) {
    return limits;
  }
  throw new ArgumentError(`ranges[${axis}]`, `a start and an end from 0 to ${length}, in this order`, range);
}

function position(index: number, length: number, axis: number): number {
  const found = index < 0 ? index + length : index;
  if (Number.isSafeInteger(found) && found >= 0 && found < length) return found;
  throw new ArgumentError(`index ${axis}`, `a position from ${-length} to ${length - 1}`, index);
}
