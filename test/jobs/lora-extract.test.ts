import { describe, expect, it } from 'vitest';
import type { ExtractChoice } from '../../lib/adapters/extract.js';
import { type ExtractOptions, extractLora } from '../../lib/adapters/extract-checkpoints.js';
import type { NewTensor } from '../../lib/checkpoint/safetensors/file.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';
import { tinyLlama, weights, writeModel } from '../support/checkpoints.js';
import { temporaryPaths } from '../support/folder.js';

const at = temporaryPaths();
const MATRIX = 'model.layers.1.mlp.up_proj.weight';
const NORM = 'model.layers.0.input_layernorm.weight';

/**
 * Extracts from the small Llama and another one that differs in the given tensors; undefined leaves
 * one out.
 */
async function extract(
  name: string,
  changed: Readonly<Record<string, NewTensor | undefined>>,
  options: ExtractOptions & ExtractChoice = { rank: 2 },
) {
  const tuned = tinyLlama();
  for (const [tensor, value] of Object.entries(changed)) {
    if (value === undefined) tuned.delete(tensor);
    else tuned.set(tensor, value);
  }
  const [base, other] = [at(name, 'base'), at(name, 'tuned')];
  await writeModel(base, tinyLlama());
  await writeModel(other, tuned);
  return extractLora(base, other, options);
}

/** A tensor of the small Llama with one number put in. */
function spoiled(tensor: string, index: number, value: number): NewTensor {
  const { bytes, shape } = tinyLlama().get(tensor)!;
  const data = toFloat32(bytes, 'F32');
  data[index] = value;
  return { dtype: 'F32', shape, bytes: fromFloat32(data, 'F32') };
}

describe('extractLora', () => {
  it('refuses different models, and names the difference', async () => {
    await expect(extract('wider', { [MATRIX]: weights([24, 20]) })).rejects.toMatchObject({
      code: 'ERR_SHAPE',
      message: expect.stringMatching(/up_proj\.weight: .*24, ?16.*base.*24, ?20.*tuned/),
    });
    const extra = 'model.layers.2.mlp.up_proj.weight';
    await expect(
      extract('deeper', { [extra]: weights([24, 16]) }, { rank: 2, tensors: [extra] }),
    ).rejects.toMatchObject({
      code: 'ERR_NOT_FOUND',
      message: expect.stringContaining(extra),
    });
  });

  it.each([
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
  ])('makes no update of a difference with %s, and names its place', async (text, value) => {
    await expect(extract(text, { [MATRIX]: spoiled(MATRIX, 3 * 16 + 5, value) })).rejects.toMatchObject({
      code: 'ERR_NOT_FINITE',
      message: `${MATRIX}: the difference at [3, 5] is ${text}`,
    });
  });

  it('lists uncovered tensors: changed ones, other shapes, and those of one model only', async () => {
    const { uncovered, modules } = await extract('others', {
      [MATRIX]: weights([24, 16], 'F32', 99),
      [NORM]: spoiled(NORM, 0, 7),
      'model.embed_tokens.weight': weights([33, 16]),
      'model.layers.1.input_layernorm.weight': undefined,
      'extra.scale': weights([2]),
    });
    expect(modules.map(({ tensor }) => tensor)).toEqual([MATRIX]);
    expect(Object.fromEntries(uncovered.map(({ tensor, reason }) => [tensor, reason]))).toEqual({
      [NORM]: 'changed',
      'model.embed_tokens.weight': 'other shape',
      'model.layers.1.input_layernorm.weight': 'only in base',
      'extra.scale': 'only in tuned',
    });
  });

  it('names the module that keeps too little, and a sufficient rank', async () => {
    const [first, second] = [MATRIX, 'model.layers.0.mlp.gate_proj.weight'];
    // The difference is a diagonal: its numbers are the singular values.
    const shifted = (tensor: string, values: readonly number[]): NewTensor => {
      const { bytes, shape } = tinyLlama().get(tensor)!;
      const data = toFloat32(bytes, 'F32');
      for (const [i, value] of values.entries()) data[i * shape[1]! + i]! += value;
      return { dtype: 'F32', shape, bytes: fromFloat32(data, 'F32') };
    };
    // Of 30 the first keeps 16, 25, 29, 30; of 10 the second 9, 10.
    const changed = { [first]: shifted(first, [4, 3, 2, 1]), [second]: shifted(second, [3, 1]) };
    const module = 'model.layers.1.mlp.up_proj';
    const one = await extract('short-1', changed, { rank: 1 });
    expect(one.shortfall).toMatchObject({ module, rank: 1, sufficientRank: 3, modules: 1 });
    expect(one.shortfall!.keptEnergy).toBeCloseTo(16 / 30, 4);
    expect((await extract('short-2', changed, { rank: 2 })).shortfall).toMatchObject({ sufficientRank: 3, modules: 1 });
    expect((await extract('enough', changed, { rank: 3 })).shortfall).toBeUndefined();
    // Rounding the factors is no reason to ask for more of them.
    const rounded = await extract('rounded', changed, { energy: 0.9, dtype: 'BF16' });
    expect(rounded.shortfall).toBeUndefined();
    const flat = { [first]: shifted(first, [1, 1, 1, 1]), [second]: shifted(second, [1, 1, 1, 1, 1]) };
    expect((await extract('two', flat, { rank: 1 })).shortfall).toMatchObject({
      module: 'model.layers.0.mlp.gate_proj',
      sufficientRank: 5,
      modules: 2,
    });
  });

  it('takes the weights of modules that a glob matches, and names the skipped tensors', async () => {
    const bias = 'model.layers.1.mlp.up_proj.bias';
    const experts = 'model.layers.1.experts.weight';
    const both = { [bias]: weights([24]), [experts]: weights([2, 4, 4]) };
    const tuned = new Map([...tinyLlama(), ...Object.entries(both)]).set(MATRIX, weights([24, 16], 'F32', 99));
    await writeModel(at('globs', 'base'), new Map([...tinyLlama(), ...Object.entries(both)]));
    await writeModel(at('globs', 'tuned'), tuned);
    const named = (...tensors: string[]) =>
      extractLora(at('globs', 'base'), at('globs', 'tuned'), { rank: 2, tensors });
    const { modules, skipped, unchanged } = await named('*layers.1.*', MATRIX);
    expect(modules.map(({ tensor }) => tensor)).toEqual([MATRIX]);
    expect(unchanged).toHaveLength(6);
    const rest = [experts, 'model.layers.1.input_layernorm.weight', bias];
    expect(skipped).toEqual([{ glob: '*layers.1.*', matched: 10, tensors: rest }]);
    await expect(named('*norm*')).rejects.toMatchObject({ code: 'ERR_SHAPE' });
    await expect(named('*layers.1.*', bias)).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
    await expect(named('*layers.1.*', NORM)).rejects.toMatchObject({ code: 'ERR_SHAPE' });
  });

  it('compares numbers where the types differ', async () => {
    // Small whole numbers are the same in both types; a millionth more is not.
    const whole = (dtype: 'F32' | 'F16', first: number): NewTensor => ({
      dtype,
      shape: [16],
      bytes: fromFloat32(
        Float32Array.from({ length: 16 }, (_, i) => (i === 0 ? first : i)),
        dtype,
      ),
    });
    const other = weights([24, 16], 'F32', 99);
    const reasons = async (name: string, norm: NewTensor, before: NewTensor) => {
      const base = tinyLlama().set(NORM, before);
      await writeModel(at(name, 'base'), base);
      await writeModel(at(name, 'tuned'), new Map(base).set(NORM, norm).set(MATRIX, other));
      const { uncovered } = await extractLora(at(name, 'base'), at(name, 'tuned'), { rank: 2 });
      return uncovered;
    };
    expect(await reasons('same', whole('F16', 1), whole('F32', 1))).toEqual([]);
    expect(await reasons('differing', whole('F16', 1), whole('F32', 1 + 2 ** -20))).toEqual([
      { tensor: NORM, reason: 'changed' },
    ]);
  });

  it('wants one choice of the rank, that can be', async () => {
    for (const choice of [{}, { rank: 2, energy: 0.5 }, { rank: 0 }, { rank: 1.5 }, { energy: 0 }, { energy: 1.1 }]) {
      await expect(extractLora('nowhere', 'nowhere', choice as ExtractChoice)).rejects.toMatchObject({
        code: 'ERR_ARGUMENT',
      });
    }
  });
});
