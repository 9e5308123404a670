import { describe, expect, it } from 'vitest';
import { LoraLinear } from '../../../lib/lora/linear.js';
import { type FromWeightOptions, Lora } from '../../../lib/lora/lora.js';
import { uniform, xoshiro } from '../../../lib/random.js';
import { tensor } from '../../../lib/tensor/create.js';
import type { Tensor } from '../../../lib/tensor/tensor.js';
import { jacobiSvd, truncate } from '../../support/jacobi.js';
import { distance, gaussian, norm, ofRank, orthonormality, product } from '../../support/matrices.js';

const moments = (values: ArrayLike<number>) => {
  const all = Array.from(values);
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
  const central = (power: number) => all.reduce((sum, value) => sum + (value - mean) ** power, 0) / all.length;
  return { mean, variance: central(2), kurtosis: central(4) / central(2) ** 2 };
};

describe('random numbers', () => {
  it('are even in [0, 1), and differ between seeds, large ones too', () => {
    const seeds = [0, 1, 2, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1];
    const streams = seeds.map((seed) => {
      const next = uniform(seed);
      return Array.from({ length: 20_000 }, next);
    });
    for (const numbers of streams) {
      expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...numbers)).toBeLessThan(1);
      const { mean, variance } = moments(numbers);
      expect(Math.abs(mean - 1 / 2)).toBeLessThan(0.01);
      expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.003);
    }
    expect(new Set(streams.map((numbers) => numbers[0])).size).toBe(seeds.length);
  });

  it('are those of xoshiro128**: its first numbers from the state 1, 2, 3, 4', () => {
    const next = xoshiro([1, 2, 3, 4]);
    expect([next(), next(), next(), next()]).toEqual([11520, 0, 5927040, 70819200]);
  });
});

describe('a new adapter', () => {
  it('gaussian: both factors are standard normal', () => {
    const { A, B } = new Lora({ dim: 1000, dimOut: 700, r: 20, seed: 4 });
    for (const { data } of [A, B]) {
      const { mean, variance, kurtosis } = moments(data);
      expect(Math.abs(mean)).toBeLessThan(0.03);
      expect(Math.abs(variance - 1)).toBeLessThan(0.05);
      expect(Math.abs(kurtosis - 3)).toBeLessThan(0.2);
    }
    expect(A.data[0]).not.toBe(B.data[0]);
  });

  it('zero: B is zero and A uniform up to 1 / sqrt(dim), so it changes nothing and learns', () => {
    const lora = new Lora({ dim: 400, dimOut: 30, r: 16, init: 'zero', seed: 4 });
    expect(lora.B.data).toEqual(new Float32Array(16 * 30));
    const { variance } = moments(lora.A.data);
    expect(Math.max(...lora.A.data)).toBeLessThanOrEqual(1 / 20);
    expect(Math.min(...lora.A.data)).toBeGreaterThanOrEqual(-1 / 20);
    expect(Math.max(...lora.A.data)).toBeGreaterThan(0.049);
    expect(Math.abs(variance * 400 * 3 - 1)).toBeLessThan(0.05);
    const x = gaussian([3, 400]);
    expect(norm(lora.forward(x).data)).toBe(0);
    lora.backward(gaussian([3, 30]));
    expect(norm(lora.A.grad!.data)).toBe(0);
    expect(norm(lora.B.grad!.data)).toBeGreaterThan(0);
  });

  it('is the same for the same seed and another for another', () => {
    const of = (seed?: number) => new Lora({ dim: 5, dimOut: 4, seed }).A.data;
    expect(of(3)).toEqual(of(3));
    expect(of()).toEqual(of(0));
    expect(of(3)).not.toEqual(of(4));
    expect(of(2 ** 40)).not.toEqual(of(2 ** 41));
  });
});

/** |residual + A B scale - W| / |W|, the product in float64. */
function gap(w: Tensor, { lora, residual }: { lora: Lora; residual: Tensor }): number {
  const [m, n] = w.shape as [number, number];
  const sum = product(lora.A.data, lora.B.data, m, lora.r, n).map((p, i) => p * lora.scale + residual.data[i]!);
  return distance(sum, w.data) / norm(w.data);
}

const OPTIONS: FromWeightOptions[] = [
  {},
  { alpha: 16 },
  { alpha: 16, scaling: 'rslora' },
  { alpha: 0.25, r: 1 },
  { r: 12 },
];

describe.each([
  [30, 12],
  [12, 30],
  [16, 16],
])('an adapter from a weight of %i x %i', (m, n) => {
  const w = gaussian([m, n], 5);
  const copy = w.data.slice();

  it.each(OPTIONS)('pissa %o: the best approximation of its rank, evenly shared by the factors', async (options) => {
    const { lora, residual } = await Lora.fromWeight(w, options);
    const { r } = lora;
    expect(r).toBe(options.r ?? 8);
    expect(w.data).toEqual(copy);
    expect(gap(w, { lora, residual })).toBeLessThan(1e-6);
    const svd = jacobiSvd(w.data, m, n);
    expect(distance(lora.weight.data, truncate(svd, m, n, r)) / norm(w.data)).toBeLessThan(3e-6);
    // Both factors have the singular values over the scale as squared lengths.
    for (let j = 0; j < r; j++) {
      const column = Array.from({ length: m }, (_, i) => lora.A.data[i * r + j]!);
      const row = lora.B.data.subarray(j * n, (j + 1) * n);
      expect(norm(column) ** 2 / (svd.s[j]! / lora.scale)).toBeCloseTo(1, 4);
      expect(norm(row) ** 2 / (svd.s[j]! / lora.scale)).toBeCloseTo(1, 4);
    }
  });

  it.each(OPTIONS)('olora %o: directions of the QR decomposition', async (options) => {
    const { lora, residual } = await Lora.fromWeight(w, { ...options, init: 'olora' });
    const { r } = lora;
    expect(w.data).toEqual(copy);
    expect(gap(w, { lora, residual })).toBeLessThan(1e-6);
    expect(orthonormality(lora.B.data, r, n, 'rows')).toBeLessThan(1e-6);
    // W' = Q R: A B holds the first r rows of W whole, and A is R', lower triangular.
    const ab = product(lora.A.data, lora.B.data, m, r, n);
    expect(distance(ab.subarray(0, r * n), w.data.subarray(0, r * n)) / norm(w.data)).toBeLessThan(1e-6);
    for (let i = 0; i < r; i++) for (let j = i + 1; j < r; j++) expect(lora.A.data[i * r + j]).toBe(0);
    // What is left of the other rows is orthogonal to B.
    const rest = w.data.map((value, i) => value - ab[i]!);
    const transposed = Float32Array.from({ length: n * r }, (_, i) => lora.B.data[(i % r) * n + Math.floor(i / r)]!);
    expect(norm(product(rest, transposed, m, n, r)) / norm(w.data)).toBeLessThan(1e-6);
  });

  it('computes the same at once as in time', async () => {
    for (const init of ['pissa', 'olora'] as const) {
      const [soon, now] = [await Lora.fromWeight(w, { init, r: 3 }), Lora.fromWeightSync(w, { init, r: 3 })];
      expect(now.lora.A.data).toEqual(soon.lora.A.data);
      expect(now.lora.B.data).toEqual(soon.lora.B.data);
      expect(now.residual).toEqual(soon.residual);
    }
  });
});

describe('an adapter from a weight', () => {
  it('equals the weight itself beside its residual in a linear layer', () => {
    const w = gaussian([20, 14], 6);
    const x = gaussian([5, 20], 7);
    const wanted = product(x.data, w.data, 5, 20, 14);
    for (const init of ['pissa', 'olora'] as const) {
      const { lora, residual } = Lora.fromWeightSync(w, { init, r: 4, alpha: 8 });
      const linear = new LoraLinear({ weight: residual });
      linear.addAdapter('principal', lora);
      expect(distance(linear.forward(x).data, wanted) / norm(wanted)).toBeLessThan(2e-6);
    }
  });

  it('meets weights of a smaller rank, and zero', () => {
    for (const w of [ofRank(2, 12, 9), tensor(new Float32Array(12 * 9), [12, 9])]) {
      for (const init of ['pissa', 'olora'] as const) {
        const { lora, residual } = Lora.fromWeightSync(w, { init, r: 5 });
        expect([...lora.A.data, ...lora.B.data].every(Number.isFinite)).toBe(true);
        const sum = lora.weight.data.map((value, i) => value + residual.data[i]!);
        expect(distance(sum, w.data)).toBeLessThanOrEqual(2e-6 * norm(w.data));
      }
    }
  });

  it.each([
    [{ r: 10 }, 'r'],
    [{ r: 0 }, 'r'],
    [{ init: 'zero' }, 'init'],
    [{ alpha: 0 }, 'alpha'],
    [{ alpha: -1 }, 'alpha'],
    [{ alpha: Number.POSITIVE_INFINITY }, 'alpha'],
    [{ scaling: 'x' }, 'scaling'],
  ])('refuses %o', async (options, argument) => {
    await expect(Lora.fromWeight(gaussian([12, 9]), options as never)).rejects.toMatchObject({ argument });
  });

  it('refuses a NaN wherever it lies', async () => {
    for (const init of ['pissa', 'olora'] as const) {
      const w = gaussian([12, 9]);
      w.data[100] = Number.NaN;
      await expect(Lora.fromWeight(w, { init, r: 2 })).rejects.toMatchObject({ code: 'ERR_NOT_FINITE' });
    }
  });
});
