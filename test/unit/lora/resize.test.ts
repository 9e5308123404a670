import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LoraAdapter } from '../../../lib/adapters/adapter.js';
import { productSvd } from '../../../lib/adapters/product-svd.js';
import { resizeLora } from '../../../lib/adapters/resize.js';
import { checkChoice, chooseRank, truncateProduct } from '../../../lib/adapters/truncate.js';
import { dataOf, type ModuleSpec, randomAdapter, reference } from '../../support/adapters.js';
import { failure } from '../../support/failure.js';
import { jacobiSvd, truncate } from '../../support/jacobi.js';
import { distance, gaussian, norm, product } from '../../support/matrices.js';

/** [out, r, in], also with more rank than rows or columns. */
const sizes = fc.tuple(
  fc.integer({ min: 1, max: 24 }),
  fc.integer({ min: 1, max: 12 }),
  fc.integer({ min: 1, max: 24 }),
);
const seeds = fc.integer({ min: 1, max: 1e6 });

const factorsOf = ([out, r, width]: readonly [number, number, number], seed: number) => ({
  b: gaussian([out, r], seed),
  a: gaussian([r, width], seed + 1),
});

describe('the SVD of a product', () => {
  it('is that of the matrix, in float64, and has orthonormal vectors', () => {
    fc.assert(
      fc.property(sizes, seeds, ([out, r, width], seed) => {
        const { b, a } = factorsOf([out, r, width], seed);
        const whole = product(b.data, a.data, out, r, width);
        const { u, s, v } = productSvd({ b, a });
        const expected = jacobiSvd(whole, out, width).s;
        for (let i = 0; i < r; i++)
          expect(Math.abs(s[i]! - (expected[i] ?? 0))).toBeLessThan(1e-12 * (expected[0]! + 1));
        const sum = new Float64Array(out * width);
        for (let k = 0; k < r; k++) {
          for (let i = 0; i < out; i++)
            for (let j = 0; j < width; j++) sum[i * width + j]! += u[k]![i]! * s[k]! * v[k]![j]!;
        }
        expect(distance(sum, whole)).toBeLessThan(1e-12 * norm(whole));
        const dot = (x: Float64Array, y: Float64Array) => x.reduce((total, value, i) => total + value * y[i]!, 0);
        for (let p = 0; p < Math.min(out, r, width); p++) {
          for (let q = 0; q <= p; q++) {
            expect(dot(u[p]!, u[q]!)).toBeCloseTo(p === q ? 1 : 0, 8);
            expect(dot(v[p]!, v[q]!)).toBeCloseTo(p === q ? 1 : 0, 8);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('keeps small singular values to digits that float32 has not', () => {
    const width = 20;
    const values = [1, 1e-4, 1e-9, 1e-12];
    const q = jacobiSvd(gaussian([width, 4], 3).data, width, 4).u;
    const b = gaussian([30, 4], 4);
    const a = { data: new Float32Array(4 * width), shape: [4, width] };
    for (let k = 0; k < 4; k++) for (let j = 0; j < width; j++) a.data[k * width + j] = q[j * 4 + k]! * values[k]!;
    const expected = jacobiSvd(product(b.data, a.data, 30, 4, width), 30, width).s;
    const { s } = productSvd({ b, a });
    for (let i = 0; i < 3; i++) expect(Math.abs(s[i]! / expected[i]! - 1)).toBeLessThan(1e-5);
  });

  it('takes factors of zeros, of dependent columns and of one rank', () => {
    const zero = productSvd({ b: { data: new Float32Array(12), shape: [4, 3] }, a: gaussian([3, 5]) });
    expect([...zero.s]).toEqual([0, 0, 0]);
    const b = gaussian([6, 1], 7).data;
    const twice = { data: Float32Array.from({ length: 12 }, (_, i) => b[i >> 1]!), shape: [6, 2] };
    const { s } = productSvd({ b: twice, a: gaussian([2, 9], 8) });
    expect(s[0]).toBeGreaterThan(1);
    expect(s[1]).toBeLessThan(1e-14 * s[0]!);
  });
});

describe('choosing a rank', () => {
  const s = Float64Array.from([4, 2, 1, 0.5]);

  it('by rank, energy and ratio', () => {
    // Energies 16, 4, 1 and 0.25 of 21.25.
    expect([1, 3, 9].map((rank) => chooseRank(s, { rank }))).toEqual([1, 3, 4]);
    expect([0.5, 0.76, 0.95, 0.98, 0.99, 1].map((energy) => chooseRank(s, { energy }))).toEqual([1, 2, 3, 3, 4, 4]);
    // The decimal that is meant: of 9 and 1 the first holds nine tenths, though 1 - 0.9 is less
    // than a tenth in binary.
    expect([0.9, 0.91].map((energy) => chooseRank(Float64Array.from([3, 1]), { energy }))).toEqual([1, 2]);
    expect([1, 0.5, 0.26, 0.25, 0.1].map((ratio) => chooseRank(s, { ratio }))).toEqual([1, 2, 2, 3, 4]);
  });

  it('keeps at least one, and does not count rounding as energy', () => {
    const zeros = new Float64Array(3);
    expect([{ rank: 2 }, { energy: 1 }, { ratio: 0.5 }].map((choice) => chooseRank(zeros, choice))).toEqual([2, 1, 3]);
    expect(chooseRank(Float64Array.from([1, 1e-16]), { energy: 1 })).toBe(1);
  });

  it('refuses none, several, and numbers out of range', () => {
    const wrong: object[] = [{}, { rank: 1, energy: 0.5 }, { rank: 0 }, { rank: 1.5 }, { energy: 0 }, { energy: 1.01 }];
    for (const choice of [...wrong, { ratio: 0 }, { ratio: 2 }, { ratio: Number.NaN }]) {
      expect(() => checkChoice(choice as { rank: number })).toThrow(/expected/);
    }
    expect(() => checkChoice({ energy: 1 })).not.toThrow();
  });
});

describe('compressing a product', () => {
  it('is the best approximation (Eckart and Young), its scaling and sign included', () => {
    const factor = fc.constantFrom(1, -2, 0.25, 4);
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 12 }), factor, seeds, ([out, r, width], rank, factor, seed) => {
        const { b, a } = factorsOf([out, r, width], seed);
        const whole = product(b.data, a.data, out, r, width).map((value) => value * factor);
        const kept = truncateProduct({ b, a }, factor, { rank });
        const k = Math.min(rank, r);
        expect(kept.rank).toBe(k);
        const svd = jacobiSvd(whole, out, width);
        const best = truncate(svd, out, width, Math.min(k, svd.s.length));
        const mine = product(kept.b.data, kept.a.data, out, k, width);
        // Only the rounding of the factors to float32 is left.
        expect(distance(mine, whole)).toBeLessThanOrEqual(distance(best, whole) + 1e-6 * norm(whole));
        const energy = 1 - (distance(best, whole) / norm(whole)) ** 2;
        expect(kept.keptEnergy).toBeCloseTo(energy, 9);
      }),
      { numRuns: 60 },
    );
  });
});

const MODULES: Record<string, ModuleSpec> = {
  'model.layers.0.q_proj': { out: 20, in: 30, rank: 6 },
  'model.layers.0.k_proj': { out: 10, in: 30, rank: 6 },
  'model.layers.10.q_proj': { out: 20, in: 30, rank: 4 },
  'model.embed': { out: 16, in: 40, rank: 6, embedding: true },
};
const CONFIG = {
  r: 6,
  lora_alpha: 12,
  target_modules: ['q_proj', 'k_proj', 'embed'],
  base_model_name_or_path: 'someone/base',
  rank_pattern: { 'layers.10.q_proj': 4 },
  alpha_pattern: { 'k_.*': 3 },
  lora_dropout: 0.1,
};

function expectBest(before: LoraAdapter, after: LoraAdapter, tolerance: number): void {
  for (const [name, module] of before.modules) {
    const [out, width] = [module.b.shape[0]!, module.a.shape[1]!];
    const whole = reference(module);
    const resized = after.modules.get(name)!;
    const best = truncate(jacobiSvd(whole, out, width), out, width, resized.rank);
    expect(distance(reference(resized), best) / norm(whole), name).toBeLessThan(tolerance);
  }
}

describe('resizeLora', () => {
  it('gives every module the best update of the rank, and one alpha', async () => {
    const adapter = await randomAdapter(MODULES, CONFIG);
    const { adapter: small, modules } = await resizeLora(adapter, { rank: 3 });
    expectBest(adapter, small, 1e-6);
    expect(small.config).toMatchObject({ r: 3, lora_alpha: 3, rank_pattern: {}, alpha_pattern: {}, lora_dropout: 0.1 });
    const ranks = Object.fromEntries(modules.map(({ name, rankBefore, rank }) => [name, [rankBefore, rank]]));
    expect(ranks).toEqual(Object.fromEntries(Object.entries(MODULES).map(([name, { rank }]) => [name, [rank, 3]])));
    for (const module of modules) {
      const whole = reference(adapter.modules.get(module.name)!);
      const error = distance(reference(small.modules.get(module.name)!), whole) / norm(whole);
      expect(module.relativeError).toBeCloseTo(error, 5);
      expect(module.keptEnergy).toBeCloseTo(1 - error ** 2, 5);
      expect(Math.hypot(...module.singularValues)).toBeCloseTo(norm(whole), 8);
    }
  });

  it('writes ranks that differ as patterns that mean one module each', async () => {
    const adapter = await randomAdapter(MODULES, CONFIG);
    const { adapter: small, modules } = await resizeLora(adapter, { energy: 0.8 });
    expectBest(adapter, small, 1e-6);
    const ranks = new Set(modules.map(({ rank }) => rank));
    expect(ranks.size).toBeGreaterThan(1);
    const { r, lora_alpha, rank_pattern } = small.config as { r: number; lora_alpha: number; rank_pattern: object };
    expect(lora_alpha).toBe(r);
    for (const { name, rank, keptEnergy } of modules) {
      expect(keptEnergy).toBeGreaterThanOrEqual(0.8);
      const own = Object.entries(rank_pattern).filter(([key]) => new RegExp(`^(.*\\.)?(${key})$`).test(name));
      expect(own.map(([, value]) => value)).toEqual(rank === r ? [] : [rank]);
    }
  });

  it('keeps 16-bit dtypes, or takes another', async () => {
    const modules = { 'a.b': { out: 12, in: 9, rank: 4, dtype: 'BF16' as const } };
    const adapter = await randomAdapter(modules, { r: 4, lora_alpha: 8 });
    const small = (await resizeLora(adapter, { rank: 2 })).adapter;
    expect(small.modules.get('a.b')!.a.dtype).toBe('BF16');
    expectBest(adapter, small, 1e-2);
    const wide = (await resizeLora(adapter, { rank: 2, dtype: 'F32' })).adapter;
    expect(wide.modules.get('a.b')!.b.dtype).toBe('F32');
    expectBest(adapter, wide, 1e-6);
  });

  it('with all of the rank changes nothing but the rounding', async () => {
    const adapter = await randomAdapter(MODULES, { ...CONFIG, use_rslora: true });
    const { adapter: same, modules } = await resizeLora(adapter, { rank: 100 });
    for (const [name, module] of adapter.modules) {
      expect(distance(reference(same.modules.get(name)!), reference(module)) / norm(reference(module))).toBeLessThan(
        1e-6,
      );
    }
    expect(same.config.use_rslora).toBe(false);
    expect(modules.every(({ keptEnergy, relativeError }) => keptEnergy === 1 && relativeError === 0)).toBe(true);
  });

  it('refuses more than B A by name, and NaN, and stops when aborted', async () => {
    const modules = { 'a.b': { out: 4, in: 4, rank: 2 } };
    const dora = await randomAdapter(modules, { r: 2, use_dora: true });
    expect(await failure(resizeLora(dora, { rank: 1 }))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('use_dora: true'),
    });
    const adapter = await randomAdapter(modules, { r: 2 });
    const broken = adapter.modules.get('a.b')!;
    dataOf(broken.a);
    new DataView(broken.a.bytes.buffer, broken.a.bytes.byteOffset).setFloat32(20, Number.NaN, true);
    expect(await failure(resizeLora(adapter, { rank: 1 }))).toMatchObject({
      code: 'ERR_NOT_FINITE',
      message: 'a.b lora_A: NaN at [1, 1]',
    });
    const signal = AbortSignal.abort(new Error('enough'));
    const other = await randomAdapter(modules, { r: 2 });
    await expect(resizeLora(other, { rank: 1, signal })).rejects.toThrow('enough');
  });
});
