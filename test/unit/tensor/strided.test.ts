import fc from 'fast-check';
import ndarray from 'ndarray';
import { describe, expect, it } from 'vitest';
import {
  AdamW,
  factorize,
  Lora,
  LoraLinear,
  LowRank,
  laser,
  laserSync,
  matmul,
  matmulSync,
  matrixRank,
  matrixRankSync,
  Parameter,
  singularValues,
  singularValuesSync,
  svd,
  svdSync,
  type Tensor,
  type TensorLike,
  tensor,
} from '../../../lib/index.js';
import { asTensor } from '../../../lib/tensor/tensor.js';
import { gaussian } from '../../support/matrices.js';

type View = ndarray.NdArray<Float32Array>;

/** The elements of a view in row-major order, one by one through its own `get`. */
function elementsOf(view: View): Float32Array {
  const read = (index: number[]): number[] =>
    index.length === view.shape.length
      ? [view.get(...index)]
      : Array.from({ length: view.shape[index.length]! }, (_, i) => read([...index, i])).flat();
  return Float32Array.from(read([]));
}

/** As `toEqual`, which takes seconds for thousands of long arrays. */
function requireEqual(actual: Float32Array, expected: Float32Array): void {
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array) => Buffer.from(buffer, byteOffset, byteLength);
  expect(bytes(actual).equals(bytes(expected))).toBe(true);
}

/**
 * Views as users make them: of up to four dimensions, after any number of ndarray's own operations.
 */
const views: fc.Arbitrary<View> = fc
  .record({
    shape: fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 2 }),
    outer: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }),
    before: fc.nat(3),
    after: fc.nat(3),
    steps: fc.array(
      fc.record({
        kind: fc.constantFrom('transpose', 'step', 'lo', 'hi', 'pick', 'flip'),
        numbers: fc.array(fc.nat(5), { minLength: 4, maxLength: 4 }),
      }),
      { maxLength: 5 },
    ),
  })
  .map(({ shape, outer, before, after, steps }) => {
    const dimensions = [...outer, ...shape];
    const count = dimensions.reduce((a, b) => a * b, 1);
    const data = Float32Array.from({ length: before + count + after }, (_, i) => i);
    let view = ndarray(data, dimensions, undefined, before) as View;
    for (const { kind, numbers } of steps) {
      const d = view.shape.length;
      const own = numbers.slice(0, d);
      if (kind === 'transpose') {
        view = view.transpose(
          ...own
            .map((n, i) => [n, i])
            .sort(([a], [b]) => a! - b!)
            .map(([, i]) => i!),
        );
      } else if (kind === 'step') view = view.step(...own.map((n) => (n === 0 ? 1 : n)));
      else if (kind === 'flip') view = view.step(...own.map((n) => (n % 2 ? -1 : 1)));
      else if (kind === 'lo') view = view.lo(...own.map((n, i) => Math.min(n, view.shape[i]! - 1)));
      else if (kind === 'hi') view = view.hi(...own.map((n, i) => Math.min(n + 1, view.shape[i]!)));
      else if (d > 1) view = view.pick(Math.min(own[0]!, view.shape[0]! - 1), ...Array(d - 1).fill(null));
    }
    return view;
  });

describe('a view with strides', () => {
  it('is read as its own library reads it, whatever was done to it', () => {
    fc.assert(
      fc.property(views, (view) => {
        const before = view.data.slice();
        const { data, shape } = asTensor(view);
        expect(shape).toEqual(view.shape);
        requireEqual(data, elementsOf(view));
        requireEqual(view.data, before);
        // stdlib's and NumPy's name for the same.
        const { stride, ...rest } = { data: view.data, shape: view.shape, stride: view.stride, offset: view.offset };
        requireEqual(asTensor({ ...rest, strides: stride }).data, data);
        requireEqual(asTensor({ ...rest, strides: Int32Array.from(stride) }).data, data);
        // A method, as PyTorch's.
        requireEqual(asTensor({ ...rest, stride: () => stride }).data, data);
      }),
      { numRuns: 200 },
    );
  });

  it('keeps its memory if it is row-major, even as part of larger data', () => {
    const data = Float32Array.from({ length: 30 }, (_, i) => i);
    const rows = ndarray(data, [5, 6]).lo(2, 0).hi(2, 6);
    const read = asTensor(rows);
    expect(read.data.buffer).toBe(data.buffer);
    expect(read.data).toEqual(data.subarray(12, 24));
    expect(asTensor({ data, shape: [5, 6], strides: [6, 1], offset: 0 }).data).toBe(data);
    // The stride of a dimension of one element is never taken.
    expect(asTensor({ data, shape: [1, 30], strides: [999, 1] }).data).toBe(data);
    expect(asTensor({ data, shape: [2, 3], offset: 7 }).data).toEqual(data.subarray(7, 13));
  });

  it('may repeat elements, have no dimensions, or be empty', () => {
    const data = Float32Array.of(1, 2, 3);
    expect(asTensor({ data, shape: [2, 3], strides: [0, 1] }).data).toEqual(Float32Array.of(1, 2, 3, 1, 2, 3));
    expect(asTensor({ data, shape: [], strides: [0], offset: 1 }).data).toEqual(Float32Array.of(2));
    expect(asTensor({ data, shape: [], stride: [], offset: 2 }).data).toEqual(Float32Array.of(3));
    expect(asTensor({ data, shape: [0, 3], strides: [3, 1], offset: 99 }).data).toHaveLength(0);
    // TensorFlow.js leaves out the last stride.
    expect(asTensor({ data, shape: [3, 1], strides: [1] }).data).toBe(data);
    expect(asTensor({ data, shape: [2, 2], strides: [1] }).data).toEqual(Float32Array.of(1, 2, 2, 3));
  });

  it('is read by columns if a library marks it so without strides', () => {
    const data = Float32Array.of(1, 2, 3, 4, 5, 6);
    const rows = Float32Array.of(1, 3, 5, 2, 4, 6);
    for (const said of [{ fortranOrder: true }, { order: 'column-major' }, { order: 'F' }]) {
      expect(asTensor({ data, shape: [2, 3], ...said }).data).toEqual(rows);
    }
    for (const said of [{ fortranOrder: false }, { order: 'row-major' }, { order: [1, 0] }]) {
      expect(asTensor({ data, shape: [2, 3], ...said }).data).toBe(data);
    }
    expect(asTensor({ ...{ order: 'column-major' }, data, shape: [2, 3], strides: [1, 2] }).data).toEqual(rows);
  });

  it.each([
    ['reaches beyond the data', { strides: [4, 1], offset: 1 }, 'ERR_SHAPE', 'w: shape [3, 4] with strides [4, 1]'],
    ['reaches before the data', { strides: [-4, 1], offset: 7 }, 'ERR_SHAPE', 'from index -1 to 10'],
    ['has too few strides', { stride: [1] }, 'ERR_SHAPE', 'w.stride: expected 2 numbers'],
    ['has too many strides', { strides: [12, 4, 1] }, 'ERR_SHAPE', 'w.strides: expected 2 numbers'],
    ['has strides that are not whole', { strides: [4, 0.5] }, 'ERR_SHAPE', 'w.strides: expected whole numbers'],
    ['has strides of text', { strides: '41' }, 'ERR_ARGUMENT', 'w.strides: expected an array'],
    ['has null for strides', { strides: null }, 'ERR_ARGUMENT', 'w.strides: expected an array'],
    ['has a negative offset', { offset: -1 }, 'ERR_SHAPE', 'w.offset'],
    ['has an offset of text', { offset: '1' }, 'ERR_ARGUMENT', 'w.offset'],
    ['has data that end early', { offset: 1 }, 'ERR_SHAPE', 'the data has 12 numbers'],
    ['is larger than memory', { shape: [2 ** 40, 2 ** 40], strides: [0, 0] }, 'ERR_MEMORY', 'w: no memory'],
  ])('that %s is refused', (_, layout, code, message) => {
    const w = { data: new Float32Array(12), shape: [3, 4], ...layout } as unknown as TensorLike;
    expect(() => asTensor(w, 'w')).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });
});

describe('every function that takes a tensor', () => {
  const w = gaussian([7, 5], 3);
  const plain = { data: w.data.slice(), shape: [7, 5] };
  /** The same matrix, by columns and backwards in the middle of other numbers. */
  const strided = (): View => {
    const view = ndarray(new Float32Array(50).fill(9), [5, 7], undefined, 8).transpose(1, 0).step(-1, -1) as View;
    for (let i = 0; i < 7; i++) for (let j = 0; j < 5; j++) view.set(i, j, plain.data[i * 5 + j]!);
    return view;
  };
  const column = (values: Float32Array): View => {
    const view = ndarray(new Float32Array(2 * values.length)).step(2) as View;
    values.forEach((value, i) => view.set(i, value));
    return view;
  };

  it.each<[string, (w: TensorLike) => unknown]>([
    ['laser', (x) => laser(x, { rank: 2 })],
    ['laserSync', (x) => laserSync(x, { energy: 0.8 })],
    ['factorize', async (x) => (await factorize(x, { rank: 2 })).reconstruct()],
    ['svd', (x) => svd(x)],
    ['svdSync', (x) => svdSync(x)],
    ['singularValues', (x) => singularValues(x)],
    ['singularValuesSync', (x) => singularValuesSync(x)],
    ['matrixRank', (x) => matrixRank(x, { tolerance: 2 })],
    ['matrixRankSync', (x) => matrixRankSync(x, { tolerance: 2 })],
    ['matmul', (x) => matmul(x, x, { transposeA: true })],
    ['matmulSync', (x) => matmulSync(x, x, { transposeB: true })],
    ['LowRank', (x) => new LowRank(asTensor(gaussian([4, 7])), x as typeof w, gaussian([7]), []).reconstruct()],
    ['Lora.fromFactors', (x) => Lora.fromFactors(x, gaussian([5, 3])).weight],
    ['Lora.fromWeight', async (x) => (await Lora.fromWeight(x, { r: 2 })).residual],
    ['Lora.fromWeightSync', (x) => Lora.fromWeightSync(x, { r: 2, init: 'olora' }).residual],
    ['LoraLinear', (x) => new LoraLinear({ weight: x, bias: gaussian([5]) }).forward(gaussian([2, 7]))],
    ['Parameter', (x) => ({ data: new Parameter(x).data, shape: new Parameter(x).shape })],
  ])('%s', async (_, call) => {
    const view = strided();
    expect(view.stride).not.toEqual([5, 1]);
    const before = view.data.slice();
    expect(await call(view)).toEqual(await call(plain));
    expect(view.data).toEqual(before);
  });

  it('the passes of a module, its hooks, its bias and its gradients', () => {
    const x = gaussian([7, 2], 5);
    const bias = gaussian([5], 8).data;
    const train = (weight: TensorLike, bias: TensorLike, x: TensorLike, backwards: (w: Tensor) => TensorLike) => {
      const layer = new LoraLinear({ weight, bias });
      layer.addAdapter('a', new Lora({ dim: 7, dimOut: 5, r: 2 }));
      layer.registerForwardHook((_module, _input, output) => backwards(output) as Tensor);
      const y = layer.forward(x);
      const gradX = layer.backward(backwards(y));
      const [a] = layer.parameters();
      a!.grad = backwards(a!.grad!);
      new AdamW([a!]).step();
      return [y, gradX, a!.data];
    };
    // Both hooks and gradients are turned round in both dimensions: once by strides, once by
    // copying.
    const views = train(strided(), column(bias), ndarray(x.data, [7, 2]).transpose(1, 0), ({ data, shape }) =>
      ndarray(data, [...shape]).step(-1, -1),
    );
    const copies = train(plain, tensor(bias, [5]), tensor(transposed(x.data, 7, 2), [2, 7]), ({ data, shape }) =>
      tensor(data.slice().reverse(), shape),
    );
    expect(views).toEqual(copies);
  });

  it('LowRank.apply', () => {
    const factors = new LowRank(gaussian([4, 2]), gaussian([2, 7]), gaussian([2]), []);
    const x = gaussian([7], 4);
    expect(factors.apply(column(x.data))).toEqual(factors.apply(x));
  });

  it('laser in place refuses a view that it could not write to, and writes to one that it can', async () => {
    const view = strided();
    const before = view.data.slice();
    const refused = { code: 'ERR_ARGUMENT', argument: 'inPlace', hint: expect.stringContaining('inPlace') };
    await expect(laser(view, { rank: 2, inPlace: true })).rejects.toMatchObject(refused);
    expect(() => laserSync(view, { rank: 2, inPlace: true })).toThrow(expect.objectContaining(refused));
    expect(view.data).toEqual(before);
    for (const call of [laser, laserSync]) {
      const data = new Float32Array(45).fill(9);
      data.set(plain.data, 5);
      const rows = ndarray(data, [9, 5]).lo(1, 0).hi(7, 5);
      const value = await call(rows, { rank: 2, inPlace: true });
      expect(value.data.buffer).toBe(data.buffer);
      expect(data.subarray(5, 40)).toEqual(laserSync(plain, { rank: 2 }).data);
      expect([...data.subarray(0, 5), ...data.subarray(40)]).toEqual(Array(10).fill(9));
    }
  });
});

function transposed(data: Float32Array, m: number, n: number): Float32Array {
  return Float32Array.from({ length: m * n }, (_, i) => data[(i % m) * n + Math.floor(i / m)]!);
}
