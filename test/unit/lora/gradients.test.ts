import { describe, expect, it } from 'vitest';
import { LoraLinear } from '../../../lib/lora/linear.js';
import { Lora } from '../../../lib/lora/lora.js';
import { tensor } from '../../../lib/tensor/create.js';
import type { Tensor } from '../../../lib/tensor/tensor.js';
import { distance, gaussian, norm, product } from '../../support/matrices.js';

/** The loss sum(G * y) of y = scale (x A) B, in float64. */
function loss(x: Float64Array, a: Float64Array, b: Float64Array, scale: number, g: Float32Array, sizes: Sizes): number {
  const { rows, dim, r, dimOut } = sizes;
  const y = product(product(x, a, rows, dim, r), b, rows, r, dimOut);
  return y.reduce((sum, value, i) => sum + scale * value * g[i]!, 0);
}

interface Sizes {
  rows: number;
  dim: number;
  r: number;
  dimOut: number;
}

/**
 * (f(v + h) - f(v - h)) / 2h for each number of `v`: the loss is linear in each, so this is exact
 * up to rounding.
 */
function central(v: Float64Array, f: (v: Float64Array) => number): Float64Array {
  const step = 2 ** -10;
  return v.map((value, i) => (f(v.with(i, value + step)) - f(v.with(i, value - step))) / (2 * step));
}

const relative = (got: ArrayLike<number>, want: ArrayLike<number>) => distance(got, want) / Math.max(norm(want), 1e-30);

const SHAPES: { leading: number[]; dim: number; dimOut: number; r: number }[] = [
  { leading: [5], dim: 7, dimOut: 6, r: 3 },
  { leading: [], dim: 9, dimOut: 4, r: 2 },
  { leading: [1], dim: 4, dimOut: 9, r: 4 },
  { leading: [2, 3], dim: 5, dimOut: 5, r: 1 },
  { leading: [2, 1, 2], dim: 1, dimOut: 3, r: 2 },
  { leading: [3], dim: 6, dimOut: 1, r: 6 },
  { leading: [4], dim: 3, dimOut: 3, r: 8 },
];
const INITS = ['gaussian', 'zero', 'pissa', 'olora'] as const;

/** An adapter begun in one of the four ways, with room for its rank. */
function begun(init: (typeof INITS)[number], dim: number, dimOut: number, r: number): Lora {
  if (init === 'gaussian' || init === 'zero') return new Lora({ dim, dimOut, r, alpha: 3, init, seed: 5 });
  const rank = Math.min(r, dim, dimOut);
  return Lora.fromWeightSync(gaussian([dim, dimOut], 8), { r: rank, alpha: 3, init }).lora;
}

describe.each(INITS)('gradients, init %s', (init) => {
  it.each(SHAPES)('of $leading x $dim -> $dimOut, rank $r: those of central differences', (shape) => {
    const { leading, dim, dimOut } = shape;
    const lora = begun(init, dim, dimOut, shape.r);
    const { r, scale } = lora;
    const x = gaussian([...leading, dim], 2);
    const g = gaussian([...leading, dimOut], 3);
    const sizes = { rows: x.data.length / dim, dim, r, dimOut };
    const [x64, a64, b64] = [x.data, lora.A.data, lora.B.data].map((data) => Float64Array.from(data)) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];

    const y = lora.forward(x);
    const gradX = lora.backward(g);

    expect(y.shape).toEqual([...leading, dimOut]);
    expect(gradX.shape).toEqual(x.shape);
    const value = y.data.reduce((sum, yi, i) => sum + yi * g.data[i]!, 0);
    const magnitude = norm(y.data) * norm(g.data);
    expect(Math.abs(value - loss(x64, a64, b64, scale, g.data, sizes))).toBeLessThanOrEqual(1e-6 * magnitude);
    expect(
      relative(
        gradX.data,
        central(x64, (v) => loss(v, a64, b64, scale, g.data, sizes)),
      ),
    ).toBeLessThan(2e-6);
    expect(lora.A.grad!.shape).toEqual([dim, r]);
    expect(lora.B.grad!.shape).toEqual([r, dimOut]);
    const gradA = central(a64, (v) => loss(x64, v, b64, scale, g.data, sizes));
    const gradB = central(b64, (v) => loss(x64, a64, v, scale, g.data, sizes));
    // A' sums products of x with what comes back through B. They may cancel, their roundings do not.
    const back = Float64Array.from({ length: sizes.rows * r }, (_, at) => {
      const [row, k] = [Math.floor(at / r), at % r];
      return b64.subarray(k * dimOut, (k + 1) * dimOut).reduce((sum, b, j) => sum + b * g.data[row * dimOut + j]!, 0);
    });
    const terms = scale * norm(x.data) * norm(back);
    expect(distance(lora.A.grad!.data, gradA)).toBeLessThanOrEqual(1e-6 * terms);
    expect(relative(lora.B.grad!.data, gradB)).toBeLessThan(2e-6);
  });
});

describe('gradients of large products', () => {
  // Large enough for several threads and for the blocks of gemm.
  it.each([
    [300, 512, 384, 64],
    [1, 2048, 2048, 64],
    [257, 1000, 130, 8],
  ])('%i rows, %i -> %i, rank %i: as float64 has them, with any number of threads', (rows, dim, dimOut, r) => {
    const lora = new Lora({ dim, dimOut, r, seed: 1 });
    const x = gaussian([rows, dim], 2);
    const g = gaussian([rows, dimOut], 3);
    const h = product(x.data, lora.A.data, rows, dim, r);
    const gradH = product(g.data, transposed(lora.B), rows, dimOut, r).map((value) => value * lora.scale);
    const wanted = {
      y: product(h, lora.B.data, rows, r, dimOut).map((value) => value * lora.scale),
      x: product(gradH, transposed(lora.A), rows, r, dim),
      a: product(transposed(x), gradH, dim, rows, r),
      b: product(transposed({ data: Float32Array.from(h), shape: [rows, r] }), g.data, r, rows, dimOut).map(
        (value) => value * lora.scale,
      ),
    };
    for (const threads of [1, 2, undefined]) {
      lora.zeroGrad();
      expect(relative(lora.forward(x, { threads }).data, wanted.y)).toBeLessThan(2e-6);
      expect(relative(lora.backward(g, { threads }).data, wanted.x)).toBeLessThan(2e-6);
      expect(relative(lora.A.grad!.data, wanted.a)).toBeLessThan(2e-6);
      expect(relative(lora.B.grad!.data, wanted.b)).toBeLessThan(2e-6);
    }
  });
});

describe('gradients through a linear layer', () => {
  it('are those of the frozen weight and of every active adapter', () => {
    const [rows, dim, dimOut] = [6, 8, 5];
    const weight = gaussian([dim, dimOut], 1);
    const first = new Lora({ dim, dimOut, r: 2, seed: 1 });
    const second = new Lora({ dim, dimOut, r: 3, alpha: 2, seed: 2 });
    const linear = new LoraLinear({ weight, bias: gaussian([dimOut], 9) });
    linear.addAdapter('first', first);
    linear.addAdapter('second', second);
    const x = gaussian([rows, dim], 3);
    const g = gaussian([rows, dimOut], 4);
    linear.forward(x);
    const gradX = linear.backward(g);
    const whole = weight.data.map((w, i) => w + first.weight.data[i]! + second.weight.data[i]!);
    const wanted = product(g.data, transposed(tensor(whole, [dim, dimOut])), rows, dimOut, dim);
    expect(relative(gradX.data, wanted)).toBeLessThan(2e-6);
    for (const lora of [first, second]) {
      const alone = Lora.fromFactors(lora.A, lora.B, { alpha: lora.alpha });
      alone.forward(x);
      alone.backward(g);
      expect(lora.A.grad).toEqual(alone.A.grad);
      expect(lora.B.grad).toEqual(alone.B.grad);
    }
  });
});

function transposed({ data, shape }: Pick<Tensor, 'data' | 'shape'>): Float32Array {
  const [m, n] = shape as [number, number];
  return Float32Array.from({ length: m * n }, (_, i) => data[(i % m) * n + Math.floor(i / m)]!);
}
