import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mergeLoras } from '../../../lib/adapters/combine.js';
import { readAdapter, writeAdapter } from '../../../lib/adapters/files.js';
import { dataOf, randomAdapter, reference } from '../../support/adapters.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { jacobiSvd, truncate } from '../../support/jacobi.js';
import { distance, norm } from '../../support/matrices.js';

const first = () =>
  randomAdapter(
    { 'l.0.q': { out: 9, in: 7, rank: 2 }, 'l.0.v': { out: 5, in: 7, rank: 2 } },
    { r: 2, lora_alpha: 6, target_modules: ['q', 'v'], layers_to_transform: [0] },
    1,
  );
const second = () =>
  randomAdapter(
    { 'l.0.q': { out: 9, in: 7, rank: 3 }, 'l.1.q': { out: 9, in: 7, rank: 1 } },
    { r: 3, lora_alpha: 2, rank_pattern: { 'l.1.q': 1 }, use_rslora: true },
    2,
  );

describe('mergeLoras', () => {
  it('is the weighted sum of the updates, without cross terms', async () => {
    const [x, y] = [await first(), await second()];
    const weights = fc.double({ min: -3, max: 3, noNaN: true });
    await fc.assert(
      fc.asyncProperty(weights, weights, async (v, w) => {
        const { adapter, modules } = await mergeLoras([
          { adapter: x, weight: v },
          { adapter: y, weight: w },
        ]);
        expect(modules.map(({ name, rank, keptEnergy }) => [name, rank, keptEnergy])).toEqual([
          ['l.0.q', 5, 1],
          ['l.0.v', 2, 1],
          ['l.1.q', 1, 1],
        ]);
        for (const [name, module] of adapter.modules) {
          const parts = [x, y].map((part) => part.modules.get(name)).map((part) => part && reference(part));
          const sum = reference(module).map((_, i) => v * (parts[0]?.[i] ?? 0) + w * (parts[1]?.[i] ?? 0));
          const size = Math.max(1e-30, ...parts.map((part) => (part ? 3 * norm(part) : 0)));
          expect(distance(reference(module), sum) / size).toBeLessThan(1e-6);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('compresses the sum to the best of a rank, or to an energy', async () => {
    const parts = [
      { adapter: await first(), weight: 1 },
      { adapter: await second(), weight: -0.5 },
    ];
    const exact = (await mergeLoras(parts)).adapter;
    for (const choice of [{ rank: 2 }, { energy: 0.9 }]) {
      const { adapter, modules } = await mergeLoras(parts, choice);
      for (const { name, rank, keptEnergy } of modules) {
        const module = adapter.modules.get(name)!;
        const [out, width] = [module.b.shape[0]!, module.a.shape[1]!];
        const whole = reference(exact.modules.get(name)!);
        const best = truncate(jacobiSvd(whole, out, width), out, width, rank);
        expect(distance(reference(module), best) / norm(whole)).toBeLessThan(1e-6);
        expect(keptEnergy).toBeCloseTo(1 - (distance(best, whole) / norm(whole)) ** 2, 6);
        if ('rank' in choice) expect(rank).toBeLessThanOrEqual(2);
        else expect(keptEnergy).toBeGreaterThanOrEqual(0.9);
      }
    }
  });

  it('reports a rank that keeps too little, and a sufficient one', async () => {
    const parts = [
      { adapter: await first(), weight: 1 },
      { adapter: await second(), weight: 1 },
    ];
    const { modules, shortfall } = await mergeLoras(parts, { rank: 1 });
    const least = modules.reduce((a, b) => (b.keptEnergy < a.keptEnergy ? b : a));
    expect(least.keptEnergy).toBeLessThan(0.9);
    expect(shortfall).toMatchObject({ module: least.name, keptEnergy: least.keptEnergy, rank: 1 });
    const { sufficientRank } = shortfall!;
    const kept = async (rank: number) =>
      (await mergeLoras(parts, { rank })).modules.find(({ name }) => name === least.name)!.keptEnergy;
    expect(await kept(sufficientRank!)).toBeGreaterThanOrEqual(0.9);
    expect(await kept(sufficientRank! - 1)).toBeLessThan(0.9);
    expect((await mergeLoras(parts, { energy: 0.9 })).shortfall).toBeUndefined();
    expect((await mergeLoras(parts)).shortfall).toBeUndefined();
  });

  it('is read again as it was made, ranks that differ included', async () => {
    const { adapter } = await mergeLoras([
      { adapter: await first(), weight: 1 },
      { adapter: await second(), weight: 2 },
    ]);
    const out = `${temporaryFolder()}/merged`;
    await writeAdapter(adapter, out);
    const again = await readAdapter(out);
    expect(new Set(again.modules.keys())).toEqual(new Set(['l.0.q', 'l.0.v', 'l.1.q']));
    expect(again.config.target_modules).toEqual(['l.0.q', 'l.0.v', 'l.1.q']);
    expect(again.config.layers_to_transform).toBeNull();
    for (const [name, { a, b, rank, scaling }] of adapter.modules) {
      const other = again.modules.get(name)!;
      expect([other.rank, other.scaling]).toEqual([rank, scaling]);
      expect([dataOf(other.a), dataOf(other.b)]).toEqual([dataOf(a), dataOf(b)]);
    }
  });

  it('refuses an empty list, invalid weights, and adapters of different models', async () => {
    const adapter = await first();
    expect(await failure(mergeLoras([]))).toMatchObject({ code: 'ERR_ARGUMENT' });
    expect(await failure(mergeLoras([{ adapter, weight: Number.NaN }]))).toMatchObject({ argument: 'weight' });
    expect(await failure(mergeLoras([{ adapter, weight: 1 }], { rank: 0 }))).toMatchObject({ argument: 'rank' });
    const wide = await randomAdapter({ 'l.0.q': { out: 9, in: 8, rank: 2 } }, { r: 2 });
    const parts = [adapter, wide].map((part) => ({ adapter: part, weight: 1 }));
    expect(await failure(mergeLoras(parts))).toMatchObject({
      code: 'ERR_SHAPE',
      message: 'l.0.q: one adapter has linear [9, 7], another linear [9, 8]',
    });
    const turned = { ...adapter, config: { ...adapter.config, fan_in_fan_out: true } };
    const both = [adapter, turned].map((part) => ({ adapter: part, weight: 1 }));
    expect(await failure(mergeLoras(both))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
  });
});
