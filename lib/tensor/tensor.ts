import { ArgumentError } from '../errors.js';
import { checkOptions, number, type OptionTypes } from '../options.js';
import { INSPECT } from '../text/inspect.js';
import { type AxisRange, completed, type NestedNumbers, nested, offsetOf, part } from './indexing.js';
import { formatNumbers } from './print.js';
import { rowMajor, type Strided } from './strided.js';

/** Numbers and their shape, row-major (the last index varies fastest), without strides. */
export interface PlainTensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/**
 * Float32 numbers and their shape, row-major (the last index varies fastest), without strides.
 * `data` is the numbers themselves: writing into it changes the tensor. Functions that take a
 * tensor also take a plain `{ data, shape }`. {@link tensor} makes one from other numbers.
 */
export class Tensor implements PlainTensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];

  /**
   * Joins numbers and a shape, without copying.
   *
   * @throws {@link ArgumentError} `ERR_ARGUMENT` if `data` is not a Float32Array or `shape` not an
   *   array; {@link LowRankError} `ERR_SHAPE` if the lengths differ.
   */
  constructor(data: Float32Array, shape: readonly number[]) {
    requireNumbers(data, 'data');
    requireShape(shape, 'shape');
    this.data = rowMajor(data, shape, {}, 'data');
    this.shape = [...shape];
  }

  /**
   * Returns the number at a position: one index for each axis, negative ones from the end.
   *
   * @throws {@link ArgumentError} if there is no such position.
   */
  at(...indexes: readonly number[]): number {
    return this.data[offsetOf(this, indexes)]!;
  }

  /**
   * Copies a part: for each axis a position, which removes the axis, `[start, end]` without the
   * end, or null for all of it. So `w.slice(null, [0, 4])` are the first four columns, and
   * `w.slice([-2])` the last two rows.
   *
   * @throws {@link ArgumentError} if the part reaches outside.
   */
  slice(...ranges: readonly AxisRange[]): Tensor {
    return tensorOf(part(this, ranges));
  }

  /**
   * Copies the entry at `index` of the first axis: a row of a matrix, or a matrix of a batch.
   *
   * @throws {@link ArgumentError} if there is none.
   */
  row(index: number): Tensor {
    return this.slice(index);
  }

  /**
   * Copies the tensor with its last two axes swapped.
   *
   * @throws {@link ArgumentError} `ERR_SHAPE` with fewer than two axes.
   */
  transpose(): Tensor {
    const { data, shape } = this;
    if (shape.length < 2) throw new ArgumentError('shape', 'at least two axes to transpose', shape, 'ERR_SHAPE');
    const [m, n] = shape.slice(-2) as [number, number];
    const turned = shape.with(-2, n).with(-1, m);
    const batch = shape.slice(0, -2);
    const strides = batch.map((_, axis) => elements(shape.slice(axis + 1)));
    // A compact copy even where the numbers already lie in this order, as those of one row do.
    const numbers = rowMajor(data, turned, { strides: [...strides, 1, n] }, 'transpose');
    return new Tensor(numbers === data ? data.slice() : numbers, turned);
  }

  /**
   * Returns the same numbers in another shape, without copying. One dimension may be -1: it
   * becomes what remains. A convolution's weight `[out, in, h, w]` becomes a matrix by
   * `reshape([out, -1])`.
   *
   * @throws {@link LowRankError} `ERR_SHAPE` if the shape has not as many numbers.
   */
  reshape(shape: readonly number[]): Tensor {
    if (!Array.isArray(shape)) throw new ArgumentError('shape', 'an array of dimensions', shape);
    return new Tensor(this.data, completed(shape, this.data.length));
  }

  /**
   * Returns nested arrays of numbers, with as many levels as there are axes; without axes, the
   * number.
   */
  toArray(): NestedNumbers | number {
    return nested(this);
  }

  /**
   * Returns the sum with a number, a tensor of the same shape, or one whose shape is the end of
   * this one's, such as a bias `[n]` for `[m, n]`.
   *
   * @throws {@link ArgumentError} `ERR_SHAPE` if the shapes do not fit.
   */
  add(other: TensorLike | number): Tensor {
    return this.#with(other, (a, b) => a + b);
  }

  /** Returns the difference; takes what {@link add} takes. */
  sub(other: TensorLike | number): Tensor {
    return this.#with(other, (a, b) => a - b);
  }

  /** Returns the product with a number, or number by number; takes what {@link add} takes. */
  mul(other: TensorLike | number): Tensor {
    return this.#with(other, (a, b) => a * b);
  }

  /**
   * Whether all numbers are close to those of `other`: |a - b| <= atol + rtol |b|, as in NumPy.
   *
   * @param options - `rtol` 1e-5 and `atol` 1e-8 by default.
   * @throws {@link ArgumentError} as {@link add}.
   */
  allClose(other: TensorLike | number, options?: CloseOptions): boolean {
    const { rtol = 1e-5, atol = 1e-8 } = checkOptions(options, CLOSE_OPTIONS, 'allClose');
    const b = operand(this, other);
    const near = (x: number, y: number) => x === y || Math.abs(x - y) <= atol + rtol * Math.abs(y);
    return this.data.every((value, i) => near(value, b[i % b.length]!));
  }

  /** Returns the shape and the numbers as NumPy prints them: long axes are shortened. */
  toString(): string {
    return this.#printed(80);
  }

  /** @internal What `console.log` prints. */
  [INSPECT](depth: number, { breakLength = 80 }: { breakLength?: number | undefined } = {}): unknown {
    if (depth < 0) return `[${this.#title()}]`;
    // Node indents the lines of an inner result, but not those of a string.
    return { [INSPECT]: () => this.#printed(breakLength) };
  }

  #printed(width: number): string {
    return `${this.#title()}\n${formatNumbers(this.data, this.shape, width)}`;
  }

  #title(): string {
    return `${this.constructor.name} [${this.shape.join(', ')}]`;
  }

  #with(other: TensorLike | number, combine: (a: number, b: number) => number): Tensor {
    const b = operand(this, other);
    const data = this.data.map((a, i) => combine(a, b[i % b.length]!));
    return new Tensor(data, this.shape);
  }
}

/** How close is close. */
export interface CloseOptions {
  /** Relative to the other number. */
  rtol?: number | undefined;
  atol?: number | undefined;
}

const CLOSE_OPTIONS: OptionTypes<CloseOptions> = { rtol: number, atol: number };

/** Returns a plain tensor as a {@link Tensor}, without copying. */
function tensorOf({ data, shape }: PlainTensor): Tensor {
  return new Tensor(data, shape);
}

/** Returns the numbers to combine with those of `a`, repeated from the start at their end. */
function operand(a: PlainTensor, other: TensorLike | number): ArrayLike<number> {
  if (typeof other === 'number') return [other];
  const { data, shape } = asTensor(other, 'other');
  const end = shape.length === 0 ? [] : a.shape.slice(-shape.length);
  if (sameShape(shape, end)) return data;
  throw new ArgumentError('other.shape', `[${a.shape}], or the end of it`, shape, 'ERR_SHAPE');
}

/**
 * Values that functions accept as a tensor: ours (`shape`), those of onnxruntime and
 * transformers.js (`dims`), and views with strides, as in ndarray and stdlib. The data may lie on a
 * SharedArrayBuffer, and may be a view of part of a buffer. A view whose elements are not row-major
 * is copied first.
 */
export type TensorLike = Strided &
  (
    | { readonly data: Float32Array; readonly shape: readonly number[] }
    | { readonly data: Float32Array; readonly dims: readonly number[] }
  );

/**
 * One matrix or a batch of equal ones: `data` is `[batch, m, n]` row-major. `batched` records
 * whether it was given as 3D.
 */
export interface Matrices {
  readonly data: Float32Array;
  readonly batch: number;
  readonly m: number;
  readonly n: number;
  readonly batched: boolean;
}

/**
 * Reads a {@link TensorLike} as a {@link Tensor}; messages call it `name`. Row-major elements are
 * not copied, others are.
 */
export function asTensor(value: TensorLike, name = 'tensor'): Tensor {
  if (value instanceof Tensor) {
    requireNumbers(value.data, `${name}.data`);
    return value;
  }
  if (typeof value !== 'object' || value === null || !('shape' in value || 'dims' in value)) {
    throw new ArgumentError(name, 'a tensor { data, shape }', value);
  }
  const { data } = value;
  const shape = 'shape' in value ? value.shape : value.dims;
  requireNumbers(data, `${name}.data`);
  requireShape(shape, `${name}.shape`);
  return new Tensor(rowMajor(data, shape, value, name), shape);
}

/** Reads a 2D or 3D tensor as a batch of matrices with at least one row and one column each. */
export function asMatrices(value: TensorLike, name = 'matrix'): Matrices {
  const { data, shape } = asTensor(value, name);
  return { data, ...asDimensions(shape, `${name}.shape`) };
}

/** Reads the shape of a batch of matrices with at least one row and one column each. */
export function asDimensions(shape: readonly number[], name = 'shape'): Omit<Matrices, 'data'> {
  requireShape(shape, name);
  if (shape.length !== 2 && shape.length !== 3) {
    throw new ArgumentError(name, 'two dimensions, or three for a batch', shape, 'ERR_SHAPE');
  }
  const batched = shape.length === 3;
  const [batch, m, n] = (batched ? shape : [1, ...shape]) as [number, number, number];
  if (m === 0 || n === 0) {
    throw new ArgumentError(name, 'at least one row and one column', shape, 'ERR_SHAPE');
  }
  return { batch, m, n, batched };
}

/**
 * Returns the shape of results that belong to the matrices: `dimensions`, after the batch dimension
 * if there is one.
 */
export function shapeOf({ batch, batched }: Omit<Matrices, 'data'>, ...dimensions: number[]): number[] {
  return batched ? [batch, ...dimensions] : dimensions;
}

/** Returns the number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

/** Whether two shapes are equal. */
export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dimension, i) => dimension === b[i]);
}

export function requireShape(shape: readonly number[], name: string): void {
  if (!Array.isArray(shape)) throw new ArgumentError(name, 'an array of dimensions', shape);
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) {
      throw new ArgumentError(name, 'whole numbers of at least 0', shape, 'ERR_SHAPE');
    }
  }
}

function requireNumbers(data: Float32Array, name: string): void {
  if (!(data instanceof Float32Array)) {
    const hint = 'tensor(numbers, shape) converts arrays and other numbers to float32.';
    throw new ArgumentError(name, 'a Float32Array', data, 'ERR_ARGUMENT', hint);
  }
  const buffer = data.buffer as unknown as { detached?: boolean; resizable?: boolean; growable?: boolean };
  if (buffer.detached) throw new ArgumentError(name, 'an array that has not been transferred', 'a detached one');
  // A resizable buffer can lose its pages while native code reads them, on any thread.
  if (buffer.resizable || buffer.growable) {
    throw new ArgumentError(name, 'an array over a buffer of fixed length', 'a resizable one');
  }
}
