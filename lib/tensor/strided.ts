import { ArgumentError, describe, LowRankError } from '../errors.js';

/** One step for each dimension, or a function that returns them. */
export type Strides = ArrayLike<number> | (() => ArrayLike<number>);

/** The layout of an array's elements in memory. All counts are in elements, not bytes. */
export interface Strided {
  /**
   * The step to the next index of each dimension, in ndarray's notation. May be negative, or 0 to
   * repeat.
   */
  readonly stride?: Strides | undefined;
  /** The same, in the notation of NumPy, stdlib and TensorFlow.js. */
  readonly strides?: Strides | undefined;
  /** The index of the first element; 0 by default. */
  readonly offset?: number | undefined;
}

/** Other ways in which libraries mark arrays whose first index varies fastest. */
interface Ordered {
  /** stdlib's `'column-major'`. */
  readonly order?: unknown;
  /** Set by readers of .npy files. */
  readonly fortranOrder?: unknown;
}

/**
 * Returns the elements of an array in row-major order: a view of the same memory if they already
 * lie that way, otherwise a compact copy.
 *
 * @param shape - whole numbers of at least 0.
 * @param name - the array's, for messages.
 * @throws LowRankError `ERR_SHAPE` if the layout does not fit the shape or reaches outside the
 *   data; `ERR_MEMORY` if the copy cannot be allocated.
 */
export function rowMajor(
  data: Float32Array,
  shape: readonly number[],
  layout: Strided & Ordered,
  name: string,
): Float32Array {
  const count = shape.reduce((product, dimension) => product * dimension, 1);
  const given = stridesOf(layout, shape, name);
  const offset = offsetOf(layout, name);
  if (given === undefined && offset === undefined) {
    if (data.length === count) return data;
    throw new LowRankError(
      'ERR_SHAPE',
      `${name}: shape ${describe(shape)} has ${count} numbers, the data ${data.length}`,
    );
  }
  const strides = given ?? rowMajorStrides(shape);
  const start = offset ?? 0;
  if (count === 0) return new Float32Array(0);
  requireInside(data, shape, strides, start, name);
  const compact = rowMajorStrides(shape);
  if (shape.every((dimension, axis) => dimension === 1 || strides[axis] === compact[axis])) {
    return data.length === count ? data : data.subarray(start, start + count);
  }
  return gather(data, shape, strides, start, allocate(count, name));
}

function stridesOf(layout: Strided & Ordered, shape: readonly number[], name: string): readonly number[] | undefined {
  const field = layout.strides === undefined ? 'stride' : 'strides';
  const given = layout[field];
  // PyTorch's is a method.
  const list: unknown = typeof given === 'function' ? given.call(layout) : given;
  if (list === undefined) {
    const isColumnMajor = layout.order === 'column-major' || layout.order === 'F' || layout.fortranOrder === true;
    return isColumnMajor ? rowMajorStrides([...shape].reverse()).reverse() : undefined;
  }
  const argument = `${name}.${field}`;
  if (!Array.isArray(list) && !(ArrayBuffer.isView(list) && !(list instanceof DataView))) {
    throw new ArgumentError(argument, 'an array of whole numbers', list);
  }
  const strides = Array.from(list as ArrayLike<unknown>);
  if (!strides.every((stride): stride is number => Number.isSafeInteger(stride))) {
    throw new ArgumentError(argument, 'whole numbers', strides, 'ERR_SHAPE');
  }
  // TensorFlow.js omits the last stride, which is 1. stdlib gives a zero-dimensional array one
  // stride.
  if (field === 'strides' && strides.length === shape.length - 1) return [...strides, 1];
  if (shape.length === 0 && strides.length === 1) return [];
  if (strides.length === shape.length) return strides;
  throw new ArgumentError(argument, `${shape.length} numbers, as many as the shape has`, strides, 'ERR_SHAPE');
}

function offsetOf({ offset }: Strided, name: string): number | undefined {
  if (offset === undefined || (Number.isSafeInteger(offset) && offset >= 0)) return offset;
  const code = typeof offset === 'number' ? 'ERR_SHAPE' : 'ERR_ARGUMENT';
  throw new ArgumentError(`${name}.offset`, 'a whole number of at least 0', offset, code);
}

function rowMajorStrides(shape: readonly number[]): number[] {
  const strides = shape.map(() => 1);
  for (let axis = shape.length - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1]! * shape[axis + 1]!;
  return strides;
}

function requireInside(
  data: Float32Array,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  name: string,
): void {
  let [first, last] = [offset, offset];
  for (const [axis, dimension] of shape.entries()) {
    const reach = (dimension - 1) * strides[axis]!;
    if (reach < 0) first += reach;
    else last += reach;
  }
  if (first >= 0 && last < data.length) return;
  throw new LowRankError(
    'ERR_SHAPE',
    `${name}: shape ${describe(shape)} with strides ${describe(strides)} and offset ${offset} reaches from index ` +
      `${first} to ${last}, but the data has ${data.length} numbers`,
  );
}

/** With strides of 0, a small array may stand for more elements than memory can hold. */
function allocate(count: number, name: string): Float32Array {
  try {
    return new Float32Array(count);
  } catch (cause) {
    throw new LowRankError('ERR_MEMORY', `${name}: no memory for a copy of ${count} numbers`, { cause });
  }
}

/** Columns copied together, so that a transposed matrix is read from cache instead of memory. */
const TILE = 64;

function gather(
  data: Float32Array,
  shape: readonly number[],
  strides: readonly number[],
  offset: number,
  out: Float32Array,
): Float32Array {
  const [rows, columns] = [shape.at(-2) ?? 1, shape.at(-1) ?? 1];
  const [down, right] = [strides.at(-2) ?? 0, strides.at(-1) ?? 0];
  const outer = shape.slice(0, -2);
  const index = outer.map(() => 0);
  let from = offset;
  for (let to = 0; to < out.length; to += rows * columns) {
    for (let begin = 0; begin < columns; begin += TILE) {
      const end = Math.min(begin + TILE, columns);
      for (let i = 0; i < rows; i++) {
        for (let j = begin; j < end; j++) out[to + i * columns + j] = data[from + i * down + j * right]!;
      }
    }
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      from += strides[axis]!;
      index[axis]!++;
      if (index[axis]! < outer[axis]!) break;
      from -= strides[axis]! * outer[axis]!;
      index[axis] = 0;
    }
  }
  return out;
}
