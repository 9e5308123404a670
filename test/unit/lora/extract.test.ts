import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addUpdates } from '../../../lib/adapters/apply.js';
import { assemble } from '../../../lib/adapters/assemble.js';
import { difference, extractUpdate, updateError } from '../../../lib/adapters/extract.js';
import { areTransposed, weightOf } from '../../../lib/adapters/modules.js';
import { Model } from '../../../lib/model/model.js';
import { fromFloat32, toFloat32 } from '../../../lib/tensor/convert.js';
import type { FloatDType } from '../../../lib/tensor/dtype.js';
import { dataOf, randomAdapter, reference } from '../../support/adapters.js';
import { failure } from '../../support/failure.js';
import { jacobiSvd, truncate } from '../../support/jacobi.js';
import { distance, gaussian, norm, ofRank } from '../../support/matrices.js';

/** A matrix [out, in] turned to [in, out] where the weight is stored so. */
function turned(x: ArrayLike<number>, m: number, n: number, transposed: boolean): Float64Array {
  return Float64Array.from({ length: m * n }, (_, at) => x[transposed ? (at % m) * n + Math.floor(at / m) : at]!);
}

const NAME = { name: 'a', kind: 'linear' as const };

describe('extracting an update', () => {
  it('is the best of its rank, in both orientations, with an error as measured', async () => {
    const side = fc.integer({ min: 1, max: 30 });
    await fc.assert(
      fc.asyncProperty(side, side, side, fc.boolean(), fc.nat(1e6), async (m, n, rank, transposed, seed) => {
        const change = gaussian([m, n], seed);
        const { update, certificate } = await extractUpdate(
          change,
          { ...NAME, dtype: 'F32', transposed },
          { rank },
          {},
        );
        const k = Math.min(rank, m, n);
        expect(certificate.rank).toBe(k);
        const module = assemble({}, [update]).modules.get('a')!;
        const [out, width] = transposed ? [n, m] : [m, n];
        expect([module.b.shape, module.a.shape]).toEqual([
          [out, k],
          [k, width],
        ]);
        const best = truncate(jacobiSvd(change.data, m, n), m, n, k);
        const mine = turned(reference(module), out, width, transposed);
        expect(distance(mine, best)).toBeLessThan(1e-4 * norm(change.data));
        const error = distance(mine, change.data) / norm(change.data);
        expect(Math.abs((await updateError(change, module, transposed, {})) - error)).toBeLessThan(1e-6);
      }),
      { numRuns: 40 },
    );
  });

  it('takes as many ranks as the energy asks for, and keeps the factors of one size', async () => {
    const change = ofRank(3, 20, 12, 4);
    const wanted = { ...NAME, dtype: 'F32' as const, transposed: false };
    const { update, singularValues } = await extractUpdate(change, wanted, { energy: 0.99999 }, {});
    expect(update.a.shape).toEqual([3, 12]);
    for (let k = 0; k < 3; k++) {
      const column = Float64Array.from({ length: 20 }, (_, i) => update.b.data[i * 3 + k]!);
      expect(norm(column)).toBeCloseTo(Math.sqrt(singularValues[k]!), 4);
      expect(norm(update.a.data.subarray(k * 12, (k + 1) * 12))).toBeCloseTo(Math.sqrt(singularValues[k]!), 4);
    }
  });

  it('computes the difference exactly if both are BF16, and for different dtypes', () => {
    const [x, y] = [
      gaussian([40], 1).data,
      gaussian([40], 2).data.map((value, i) => value * 0.01 + gaussian([40], 1).data[i]!),
    ];
    const [base, tuned] = [fromFloat32(x, 'BF16'), fromFloat32(y, 'BF16')];
    const expected = toFloat32(tuned, 'BF16').map((value, i) => value - toFloat32(base, 'BF16')[i]!);
    expect(difference({ bytes: base, dtype: 'BF16' }, { bytes: tuned, dtype: 'BF16' })).toEqual(expected);
    const wide = difference({ bytes: base, dtype: 'BF16' }, { bytes: fromFloat32(y, 'F32'), dtype: 'F32' });
    expect(wide).toEqual(y.map((value, i) => Math.fround(value - toFloat32(base, 'BF16')[i]!)));
  });
});

describe('adding updates to a weight', () => {
  const spec = { 'a.b': { out: 6, in: 5, rank: 2 } };
  const rounding: Record<string, number> = { F32: 2e-7, F16: 1e-3, BF16: 8e-3 };

  it('adds several, scaled, in both orientations and every dtype', async () => {
    const adapters = [await randomAdapter(spec, { r: 2, lora_alpha: 4 }, 1), await randomAdapter(spec, { r: 2 }, 2)];
    const modules = adapters.map((adapter) => adapter.modules.get('a.b')!);
    for (const dtype of ['F32', 'F16', 'BF16'] as FloatDType[]) {
      for (const transposed of [false, true]) {
        const shape = transposed ? [5, 6] : [6, 5];
        const bytes = fromFloat32(gaussian(shape, 3).data, dtype);
        const before = toFloat32(bytes, dtype);
        const updates = modules.map((module, i) => ({ module, scale: i === 0 ? 1 : -0.5, transposed }));
        const { relativeChange } = await addUpdates(bytes, { name: 'w', dtype, writtenAs: dtype, shape }, updates, {});
        const deltas = modules.map((module) => turned(reference(module), 6, 5, transposed));
        const expected = before.map((value, i) => value + deltas[0]![i]! - 0.5 * deltas[1]![i]!);
        const after = toFloat32(bytes, dtype);
        expect(distance(after, expected) / norm(expected)).toBeLessThan(rounding[dtype]!);
        expect(relativeChange).toBeCloseTo(distance(after, before) / norm(before), 10);
      }
    }
  });

  it('works in blocks of rows if a weight is large', async () => {
    const [out, width] = [2100, 2048];
    const adapter = await randomAdapter({ a: { out, in: width, rank: 1 } }, { r: 1, lora_alpha: 1 });
    const module = adapter.modules.get('a')!;
    const bytes = new Uint8Array(4 * out * width);
    await addUpdates(
      bytes,
      { name: 'w', dtype: 'F32', writtenAs: 'F32', shape: [out, width] },
      [{ module, scale: 1, transposed: false }],
      {},
    );
    const [a, b] = [dataOf(module.a), dataOf(module.b)];
    const after = toFloat32(bytes, 'F32');
    for (const [i, j] of [
      [0, 0],
      [2047, 3],
      [2048, 7],
      [2099, 2047],
    ] as const) {
      expect(after[i * width + j]).toBeCloseTo(b[i]! * a[j]!, 5);
    }
  });

  it('refuses a weight that is not finite, and a result that overflows the dtype', async () => {
    const module = (await randomAdapter(spec, { r: 2, lora_alpha: 4 })).modules.get('a.b')!;
    const weight = { name: 'w', dtype: 'F16' as const, writtenAs: 'F16' as const, shape: [6, 5] };
    const updates = (scale: number) => [{ module, scale, transposed: false }];
    const broken = fromFloat32(
      Float32Array.from({ length: 30 }, (_, i) => (i === 7 ? Number.NaN : 1)),
      'F16',
    );
    expect((await failure(addUpdates(broken, weight, updates(1), {}))).message).toBe('w: NaN at [1, 2]');
    const fine = fromFloat32(new Float32Array(30), 'F16');
    expect(await failure(addUpdates(fine, weight, updates(1e6), {}))).toMatchObject({
      code: 'ERR_NOT_FINITE',
      message: expect.stringContaining('does not fit into F16'),
    });
  });
});

describe('which weight a module means', () => {
  const info = (name: string, shape: number[] = [4, 4]) =>
    ({ name, shape, dtype: 'F32', bytes: 64, file: 'f', offset: 0 }) as const;
  const checkpoint = (...names: string[]) => ({
    path: '/model',
    tensors: new Map(names.map((name) => [name, info(name)])),
  });

  it('is the one of its name, or of its name with one part more or less', () => {
    expect(weightOf(checkpoint('a.b.weight', 'b.weight'), 'a.b').name).toBe('a.b.weight');
    expect(weightOf(checkpoint('h.0.c.weight'), 'transformer.h.0.c').name).toBe('h.0.c.weight');
    expect(weightOf(checkpoint('model.l.0.q.weight'), 'l.0.q').name).toBe('model.l.0.q.weight');
    expect(() => weightOf(checkpoint('x.l.0.q.weight', 'y.l.0.q.weight'), 'l.0.q')).toThrow(/module "l.0.q"/);
    expect(() => weightOf(checkpoint('l.10.q.weight'), 'l.0.q')).toThrow(/no tensor/);
  });

  const specs = {
    wide: { out: 6, in: 4, rank: 1 },
    square: { out: 4, in: 4, rank: 1 },
    wte: { out: 4, in: 9, rank: 1, embedding: true },
  };
  const role = (orientation: 'in x out' | 'out x in' | undefined) => ({
    roleOf: (name: string) => (name === 'head' ? undefined : { layer: 0, types: ['fc_in' as const], orientation }),
  });

  it('has the orientation of its shape, of the model if it is square, otherwise of the adapter', async () => {
    const { modules } = await randomAdapter(specs, { r: 1 });
    const of = (name: string, shape: number[], byModel: 'in x out' | 'out x in' | undefined, byConfig: boolean) =>
      areTransposed([{ info: info('w', shape), module: modules.get(name)! }], role(byModel), byConfig)[0];
    expect(of('wide', [6, 4], 'in x out', true)).toBe(false);
    expect(of('wide', [4, 6], 'out x in', false)).toBe(true);
    expect([of('square', [4, 4], 'in x out', false), of('square', [4, 4], 'out x in', true)]).toEqual([true, false]);
    expect([of('square', [4, 4], undefined, true), of('square', [4, 4], undefined, false)]).toEqual([true, false]);
    expect(of('wte', [9, 4], 'out x in', false)).toBe(true);
    expect(() => of('wte', [4, 9], 'in x out', true)).toThrow(/does not fit/);
    expect(() => of('wide', [6, 5], 'in x out', true)).toThrow(/does not fit the adapter's update \[6, 4\]/);
  });

  it('has the orientation of the other modules if it is square and the model is unknown', async () => {
    const { modules } = await randomAdapter(specs, { r: 1 });
    const square = { info: info('w'), module: modules.get('square')! };
    const wide = (shape: number[], name = 'x') => ({ info: info(name, shape), module: modules.get('wide')! });
    const of = (...others: ReturnType<typeof wide>[]) => areTransposed([square, ...others], undefined, true)[0];
    expect([of(wide([6, 4])), of(wide([4, 6]))]).toEqual([false, true]);
    expect(of(wide([6, 4]), wide([4, 6]))).toBe(true);
    // What is none of the layers' matrices says nothing of them.
    const beside = [square, wide([6, 4], 'head'), wide([4, 6])];
    expect(areTransposed(beside, role(undefined), false)).toEqual([true, false, true]);
  });

  it("is turned in GPT-2's layers, but not elsewhere in GPT-2 or in Llama", () => {
    const model = (config: Record<string, unknown>, ...names: string[]) =>
      new Model({ ...checkpoint(...names), config });
    const gpt2 = model({ model_type: 'gpt2' }, 'h.3.attn.c_proj.weight', 'lm_head.weight');
    expect(gpt2.orientationOf('h.3.attn.c_proj.weight')).toBe('in x out');
    expect(gpt2.orientationOf('lm_head.weight')).toBeUndefined();
    const llama = model({ model_type: 'llama' }, 'model.layers.3.self_attn.q_proj.weight');
    expect(llama.orientationOf('model.layers.3.self_attn.q_proj.weight')).toBe('out x in');
  });
});
