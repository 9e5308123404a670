import { ArgumentError } from '../errors.js';
import { rowMajor, type Strided } from './strided.js';

/** Numbers and their shape, row-major (the last index varies fastest), without strides. */
export interface Tensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
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
 * Joins numbers and a shape, without copying.
 *
 * @throws {@link ArgumentError} `ERR_ARGUMENT` if `data` is not a Float32Array or `shape` not an
 *   array, `ERR_SHAPE` if the lengths differ.
 */
export function tensor(data: Float32Array, shape: readonly number[]): Tensor {
  requireNumbers(data, 'data');
  requireShape(shape, 'shape');
  return { data: rowMajor(data, shape, {}, 'data'), shape: [...shape] };
}

/**
 * Reads a {@link TensorLike} as a {@link Tensor}; messages call it `name`. Row-major elements are
 * not copied, others are.
 */
export function asTensor(value: TensorLike, name = 'tensor'): Tensor {
  if (typeof value !== 'object' || value === null || !('shape' in value || 'dims' in value)) {
    throw new ArgumentError(name, 'a tensor { data, shape }', value);
  }
  const { data } = value;
  const shape = 'shape' in value ? value.shape : value.dims;
  requireNumbers(data, `${name}.data`);
  requireShape(shape, `${name}.shape`);
  return { data: rowMajor(data, shape, value, name), shape };
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

function requireShape(shape: readonly number[], name: string): void {
  if (!Array.isArray(shape)) throw new ArgumentError(name, 'an array of dimensions', shape);
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) {
      throw new ArgumentError(name, 'whole numbers of at least 0', shape, 'ERR_SHAPE');
    }
  }
}

function requireNumbers(data: Float32Array, name: string): void {
  if (!(data instanceof Float32Array)) throw new ArgumentError(name, 'a Float32Array', data);
  const buffer = data.buffer as unknown as { detached?: boolean; resizable?: boolean; growable?: boolean };
  if (buffer.detached) throw new ArgumentError(name, 'an array that has not been transferred', 'a detached one');
  // A resizable buffer can lose its pages while native code reads them, on any thread.
  if (buffer.resizable || buffer.growable) {
    throw new ArgumentError(name, 'an array over a buffer of fixed length', 'a resizable one');
  }
}
