import { ArgumentError, describe, LowRankError } from '../errors.js';
import { checkOptions, number, type OptionTypes } from '../options.js';
import { normal, seedOf, uniform } from '../random.js';
import { toFloat32 } from './convert.js';
import type { Strided } from './strided.js';
import { asTensor, elements, type PlainTensor, requireShape, Tensor, type TensorLike } from './tensor.js';

/** Flat numbers that can be converted to float32. */
export type NumberArray =
  | readonly number[]
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array;

/** Numbers in rows, rows in matrices and so on, all of one length on each level. */
export type NestedRows = readonly (number | NumberArray | NestedRows)[];

/** An array of another library: flat numbers with their shape, and the layout of a view. */
export type ForeignTensor = Strided & {
  readonly data: unknown;
  /** The name of the element type, where the data alone does not tell it, as in onnxruntime. */
  readonly type?: unknown;
} & ({ readonly shape: readonly number[] } | { readonly dims: readonly number[] });

/**
 * Makes a float32 tensor.
 *
 * - `tensor(numbers, shape)`: flat numbers in row-major order. A Float32Array is used as it is,
 *   others are copied. Without a shape, a vector.
 * - `tensor([[1, 2], [3, 4]])`: nested arrays, which give the shape.
 * - `tensor(other)`: a tensor of onnxruntime or transformers.js (`dims`), also of type float16, or
 *   an array of ndarray, stdlib or TensorFlow.js (`shape`), also a view and of float64 or integers.
 *
 * Numbers that float32 cannot represent are rounded to the nearest: float64 keeps 7 digits, and
 * integers above 2^24 may change.
 *
 * @throws {@link ArgumentError} `ERR_ARGUMENT` for anything else, such as BigInts and strings, and
 *   for a number beyond float32's range; `ERR_SHAPE` for ragged rows and shapes that do not fit.
 */
export function tensor(numbers: NumberArray, shape: readonly number[]): Tensor;
export function tensor(values: NumberArray | NestedRows | TensorLike | ForeignTensor): Tensor;
export function tensor(
  values: NumberArray | NestedRows | TensorLike | ForeignTensor,
  shape?: readonly number[],
): Tensor {
  if (shape !== undefined) return new Tensor(converted(values, undefined, 'data'), shape);
  if (Array.isArray(values)) return fromNested(values);
  if (ArrayBuffer.isView(values)) {
    const data = converted(values, undefined, 'data');
    return new Tensor(data, [data.length]);
  }
  if (typeof values !== 'object' || values === null || !('data' in values)) {
    throw new ArgumentError('tensor', 'numbers with a shape, nested arrays, or a tensor { data, shape }', values);
  }
  const { data, type } = values as ForeignTensor;
  if (data instanceof Float32Array) return asTensor(values as TensorLike);
  return asTensor({ ...layoutOf(values as ForeignTensor), data: converted(data, type, 'data') });
}

/** Reads the layout of another library's array, whose fields may be getters of its prototype. */
function layoutOf(view: ForeignTensor) {
  const { strides, stride, offset, order, fortranOrder } = view as ForeignTensor & Record<string, unknown>;
  const bound = (steps: unknown) => (typeof steps === 'function' ? () => steps.call(view) : steps) as Strided['stride'];
  const shape = 'shape' in view ? view.shape : view.dims;
  return { shape, strides: bound(strides), stride: bound(stride), offset, order, fortranOrder };
}

/** Returns a tensor of zeros. */
export function zeros(shape: readonly number[]): Tensor {
  return new Tensor(allocated(shape), shape);
}

/** Returns an identity matrix `[m, n]`; square without `n`. */
export function eye(m: number, n: number = m): Tensor {
  const data = allocated([m, n]);
  for (let i = 0; i < Math.min(m, n); i++) data[i * n + i] = 1;
  return new Tensor(data, [m, n]);
}

/** Options of {@link randn}. */
export interface RandomOptions {
  /** The same seed gives the same numbers on every machine; 0 by default. */
  seed?: number | undefined;
}

const RANDOM_OPTIONS: OptionTypes<RandomOptions> = { seed: number };

/**
 * Returns random numbers of the standard normal distribution. Tensors that should differ need
 * different seeds.
 */
export function randn(shape: readonly number[], options?: RandomOptions): Tensor {
  const { seed } = checkOptions(options, RANDOM_OPTIONS, 'randn');
  const next = normal(uniform(seedOf(seed)));
  return new Tensor(allocated(shape).map(next), shape);
}

/**
 * Returns the diagonal matrix `[n, n]` of a vector `[n]`, or the diagonal of a matrix `[m, n]` as a
 * vector `[min(m, n)]`.
 *
 * @throws {@link ArgumentError} `ERR_SHAPE` for other shapes.
 */
export function diag(values: TensorLike): Tensor {
  const { data, shape } = asTensor(values, 'values');
  const [m, n] = shape as [number, number];
  if (shape.length === 2) {
    return new Tensor(
      Float32Array.from({ length: Math.min(m, n) }, (_, i) => data[i * n + i]!),
      [Math.min(m, n)],
    );
  }
  if (shape.length !== 1) throw new ArgumentError('values.shape', 'a vector or a matrix', shape, 'ERR_SHAPE');
  const matrix = zeros([m, m]);
  data.forEach((value, i) => {
    matrix.data[i * m + i] = value;
  });
  return matrix;
}

/** The typed arrays that hold numbers of at most 32 bits, or of 64-bit floats. */
const NUMBER_ARRAYS = [
  'Float32Array',
  'Float64Array',
  'Float16Array',
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
];
/** The types of onnxruntime whose data hold the bits of other numbers. */
const PACKED = { float16: 'F16', bfloat16: 'BF16' } as const;
/** Those whose data hold several numbers in a byte. */
const SEVERAL = ['int4', 'uint4', 'int2', 'uint2'];

function converted(data: unknown, type: unknown, name: string): Float32Array {
  if (data instanceof Float32Array) return data;
  if (SEVERAL.includes(String(type))) throw new ArgumentError('type', 'a type of one number each', type);
  const packed = PACKED[type as keyof typeof PACKED];
  if (packed !== undefined && data instanceof Uint16Array) {
    return toFloat32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), packed);
  }
  if (!Array.isArray(data) && !(ArrayBuffer.isView(data) && NUMBER_ARRAYS.includes(kindOf(data)))) {
    throw new ArgumentError(name, 'numbers: an array, a Float32Array, a Float64Array or integers', data);
  }
  const numbers = data as ArrayLike<number>;
  if (Array.isArray(data)) {
    for (let i = 0; i < numbers.length; i++) requireNumber(numbers[i], `${name}[${i}]`);
  }
  const result = Float32Array.from(numbers);
  const far = result.findIndex((value, i) => !Number.isFinite(value) && Number.isFinite(numbers[i]));
  if (far >= 0) throw new ArgumentError(`${name}[${far}]`, "a number within float32's range", numbers[far]);
  return result;
}

function kindOf(view: ArrayBufferView): string {
  return String((view as unknown as Record<symbol, unknown>)[Symbol.toStringTag]);
}

function requireNumber(value: unknown, name: string): void {
  if (typeof value !== 'number') throw new ArgumentError(name, 'a number', value);
}

function fromNested(values: readonly unknown[]): Tensor {
  const shape: number[] = [];
  for (let level: unknown = values; Array.isArray(level) || isRow(level); level = (level as ArrayLike<unknown>)[0]) {
    shape.push(level.length);
  }
  const numbers = new Array<number>(elements(shape));
  let count = 0;
  const collect = (level: unknown, axis: number, path: string): void => {
    if (axis === shape.length) {
      requireNumber(level, path);
      numbers[count++] = level as number;
      return;
    }
    const isArray = Array.isArray(level) || isRow(level);
    if (!isArray || level.length !== shape[axis]) {
      const found = isArray ? `${level.length} of them` : describe(level);
      const message = `${path}: expected ${shape[axis]} numbers or rows, as in the first one, got ${found}`;
      throw new LowRankError('ERR_SHAPE', message);
    }
    for (let i = 0; i < level.length; i++) collect(level[i], axis + 1, `${path}[${i}]`);
  };
  collect(values, 0, 'tensor');
  return new Tensor(converted(numbers, undefined, 'tensor'), shape);
}

/** Whether a row of a matrix is a typed array. */
function isRow(value: unknown): value is ArrayLike<number> {
  return ArrayBuffer.isView(value) && NUMBER_ARRAYS.includes(kindOf(value));
}

/** @throws LowRankError `ERR_MEMORY` if no array can be so large. */
function allocated(shape: PlainTensor['shape']): Float32Array {
  requireShape(shape, 'shape');
  try {
    return new Float32Array(elements(shape));
  } catch (cause) {
    throw new LowRankError('ERR_MEMORY', `shape ${describe(shape)}: no memory for so many numbers`, { cause });
  }
}
