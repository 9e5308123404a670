import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { adapterObstacles, type LoraAdapter, loraDelta } from '../../../lib/adapters/adapter.js';
import { mergeLoras } from '../../../lib/adapters/combine.js';
import { convertLora } from '../../../lib/adapters/convert.js';
import { readAdapter, writeAdapter } from '../../../lib/adapters/files.js';
import { resizeLora } from '../../../lib/adapters/resize.js';
import { GgufFile } from '../../../lib/checkpoint/gguf/file.js';
import { type NewGgufTensor, writeGguf } from '../../../lib/checkpoint/gguf/write.js';
import { fromFloat32 } from '../../../lib/tensor/convert.js';
import { dataOf, type ModuleSpec, randomAdapter, reference } from '../../support/adapters.js';
import { failure, kind } from '../../support/failure.js';
import { temporaryPaths } from '../../support/folder.js';
import { array, key, u32, VALUE, validGguf, word } from '../../support/gguf.js';
import { distance, gaussian, norm } from '../../support/matrices.js';

const at = temporaryPaths();
const LLAMA = { model_type: 'llama', num_attention_heads: 4, num_key_value_heads: 2, hidden_size: 32 };
const Q = 'model.layers.0.self_attn.q_proj';
const MODULES: Readonly<Record<string, ModuleSpec>> = {
  [Q]: { out: 32, in: 32, rank: 4 },
  'model.layers.0.self_attn.k_proj': { out: 16, in: 32, rank: 4 },
  'model.layers.1.mlp.down_proj': { out: 32, in: 48, rank: 2 },
  'model.embed_tokens': { out: 32, in: 40, rank: 4, embedding: true },
};
/** PEFT writes the fields of later variants, too. */
const CONFIG = { r: 4, lora_alpha: 8, rank_pattern: { down_proj: 2 }, alora_invocation_tokens: null };

async function baseWith(name: string, config: object): Promise<string> {
  await mkdir(at(name), { recursive: true });
  await writeFile(at(name, 'config.json'), JSON.stringify(config));
  return at(name);
}

/** An adapter in GGUF from tensors by name. */
async function written(
  name: string,
  tensors: Readonly<Record<string, readonly number[]>>,
  keys: readonly (readonly [string, string | { f32: number }])[] = [],
): Promise<string> {
  const made = Object.entries(tensors).map(([tensor, shape], i): [string, NewGgufTensor] => [
    tensor,
    { type: 'F32', shape, bytes: fromFloat32(gaussian(shape, 50 + i).data, 'F32') },
  ]);
  const usual = new Map<string, string | { f32: number }>([
    ['general.architecture', 'llama'],
    ['general.type', 'adapter'],
    ['adapter.type', 'lora'],
    ['adapter.lora.alpha', { f32: 6 }],
    ...keys,
  ]);
  await writeGguf(at(name), usual, new Map(made));
  return at(name);
}

describe('an adapter in GGUF', () => {
  it('has the names, orientations and scaling of llama.cpp', async () => {
    const path = await written('plain.gguf', {
      'blk.0.ffn_down.weight.lora_a': [3, 10],
      'blk.0.ffn_down.weight.lora_b': [8, 3],
      'token_embd.weight.lora_a': [20, 2],
      'token_embd.weight.lora_b': [8, 2],
    });
    const adapter = await readAdapter(path);
    expect(adapter).toMatchObject({ architecture: 'llama', config: { lora_alpha: 6 }, source: { path } });
    const down = adapter.modules.get('blk.0.ffn_down')!;
    expect(down).toMatchObject({ kind: 'linear', rank: 3, alpha: 6, scaling: 2 });
    const expected = reference(down);
    const delta = loraDelta(adapter, 'blk.0.ffn_down');
    expect(delta.shape).toEqual([8, 10]);
    expect(distance(delta.data, expected) / norm(expected)).toBeLessThan(1e-6);
    const table = adapter.modules.get('token_embd')!;
    expect(table).toMatchObject({ kind: 'embedding', rank: 2, scaling: 3, a: { shape: [2, 20] } });
    expect(loraDelta(adapter, 'token_embd').shape).toEqual([20, 8]);
  });

  it('is written back to the byte, with its texts and other tensors', async () => {
    const path = await written(
      'kept.gguf',
      {
        'blk.0.attn_norm.weight': [8],
        'blk.0.ffn_down.weight.lora_a': [3, 10],
        'blk.0.ffn_down.weight.lora_b': [8, 3],
      },
      [['general.name', 'a name']],
    );
    const adapter = await readAdapter(path);
    expect(adapterObstacles(adapter)).toEqual(['the tensor "blk.0.attn_norm.weight"']);
    await writeAdapter(adapter, at('kept-again.gguf'));
    const [before, after] = [await GgufFile.open(path), await GgufFile.open(at('kept-again.gguf'))];
    expect(after.header.metadata.text('general.name')).toBe('a name');
    expect(after.header.tensors.map(({ name, shape, type }) => ({ name, shape, type }))).toEqual(
      before.header.tensors.map(({ name, shape, type }) => ({ name, shape, type })),
    );
    for (const [i, tensor] of before.header.tensors.entries()) {
      expect(await after.read(after.header.tensors[i]!)).toEqual(await before.read(tensor));
    }
    await Promise.all([before.close(), after.close()]);
  });

  it('without alpha has scaling 1', async () => {
    const pair = { 'output.weight.lora_a': [3, 10], 'output.weight.lora_b': [8, 3] };
    const adapter = await readAdapter(await written('no-alpha.gguf', pair, [['adapter.lora.alpha', { f32: 0 }]]));
    expect(adapter.modules.get('output')).toMatchObject({ alpha: 3, scaling: 1 });
  });

  it('is refused by name where it is none, or broken', async () => {
    const pair = { 'blk.0.attn_v.weight.lora_a': [3, 10], 'blk.0.attn_v.weight.lora_b': [8, 3] };
    const [a, b] = Object.entries(pair);
    expect(await kind(readAdapter(await written('half.gguf', Object.fromEntries([a!]))))).toBe('MissingFactorPair');
    const odd = { ...pair, [b![0]]: [8, 2] };
    expect(await kind(readAdapter(await written('odd.gguf', odd)))).toBe('RankMismatch');
    expect(await kind(readAdapter(await written('model.gguf', pair, [['general.type', 'model']])))).toBe('NoAdapter');
    const words = await written('words.gguf', pair, [['adapter.lora.alpha', 'many']]);
    expect(await kind(readAdapter(words))).toBe('InvalidAdapterConfig');
    const vector = await written('vector.gguf', pair, [['adapter.type', 'control_vector']]);
    expect(await failure(readAdapter(vector))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    await expect(writeAdapter(await readAdapter(await written('same.gguf', pair)), at('same.gguf'))).rejects.toThrow(
      'already exists',
    );
  });

  it('that acts only after certain tokens is neither computed with nor written', async () => {
    const factors = ['a', 'b'].map((factor) => ({
      name: `blk.0.attn_v.weight.lora_${factor}`,
      shape: [4, 4],
      type: 0,
      bytes: new Uint8Array(64),
    }));
    const keys = [word('general.architecture', 'llama'), word('general.type', 'adapter'), word('adapter.type', 'lora')];
    keys.push(key('adapter.alora.invocation_tokens', VALUE.array, array(VALUE.u32, [u32(5), u32(6)])));
    await writeFile(at('alora.gguf'), validGguf(keys, factors));
    const adapter = await readAdapter(at('alora.gguf'));
    expect(adapterObstacles(adapter)).toEqual(['alora_invocation_tokens: true']);
    expect(await failure(writeAdapter(adapter, at('alora-again.gguf')))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    expect(await failure(resizeLora(adapter, { rank: 1 }))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
  });
});

describe('convertLora', () => {
  /** The updates of all modules, by the names of the first form. */
  const updates = (adapter: LoraAdapter) => [...adapter.modules.values()].map((module) => reference(module));

  it('goes to GGUF and back without changing a bit', async () => {
    const base = await baseWith('llama', LLAMA);
    const adapter = await randomAdapter(MODULES, CONFIG);
    const gguf = await convertLora(adapter, { base });
    expect([...gguf.modules.keys()].sort()).toEqual(['blk.0.attn_k', 'blk.0.attn_q', 'blk.1.ffn_down', 'token_embd']);
    await writeAdapter(gguf, at('there.gguf'));
    const back = await convertLora(await readAdapter(at('there.gguf')), { base, baseName: 'tiny' });
    expect([...back.modules.keys()].sort()).toEqual(Object.keys(MODULES).sort());
    expect(back.config).toMatchObject({ base_model_name_or_path: 'tiny', r: 4, lora_alpha: 8, fan_in_fan_out: false });
    for (const [name, { a, b, scaling }] of back.modules) {
      const before = adapter.modules.get(name)!;
      expect(scaling).toBe(before.scaling);
      expect(dataOf(a)).toEqual(dataOf(before.a));
      expect(dataOf(b)).toEqual(dataOf(before.b));
    }
    // PEFT reads its own form again, with the ranks that the configuration states.
    await writeAdapter(back, at('back'));
    expect((await readAdapter(at('back'))).modules.size).toBe(4);
  });

  it('reorders the rows of q and k as llama.cpp does', async () => {
    const adapter = await randomAdapter(MODULES, CONFIG);
    const gguf = await convertLora(adapter, { base: await baseWith('llama', LLAMA) });
    const [before, after] = [dataOf(adapter.modules.get(Q)!.b), dataOf(gguf.modules.get('blk.0.attn_q')!.b)];
    // Heads of 8 rows: the second row in GGUF is row 4 in PyTorch.
    expect([...after.subarray(4, 8)]).toEqual([...before.subarray(16, 20)]);
    expect([...after.subarray(0, 4)]).toEqual([...before.subarray(0, 4)]);
  });

  it('keeps the update where scalings differ from the one alpha of GGUF', async () => {
    const base = await baseWith('qwen', { model_type: 'qwen2', num_attention_heads: 4 });
    for (const config of [
      { ...CONFIG, use_rslora: true },
      { ...CONFIG, alpha_pattern: { q_proj: 3 } },
      { ...CONFIG, lora_alpha: 0 },
    ]) {
      const adapter = await randomAdapter(MODULES, config);
      await writeAdapter(await convertLora(adapter, { base }), at(`scaled-${JSON.stringify(config).length}.gguf`));
      const read = await readAdapter(at(`scaled-${JSON.stringify(config).length}.gguf`));
      const [expected, found] = [updates(adapter), updates(read)];
      for (const [i, update] of found.entries()) {
        expect(distance(update, expected[i]!)).toBeLessThanOrEqual(1e-6 * norm(expected[i]!));
      }
    }
  });

  it('stores factors in the wanted type, Q8_0 only where it fits and only in GGUF', async () => {
    const base = await baseWith('llama', LLAMA);
    const spec = { [Q]: { out: 32, in: 64, rank: 32 }, 'model.layers.0.mlp.up_proj': { out: 48, in: 64, rank: 4 } };
    const adapter = await randomAdapter(spec, { r: 32, lora_alpha: 32, rank_pattern: { up_proj: 4 } });
    const gguf = await convertLora(adapter, { base, dtype: 'Q8_0' });
    const types = ['blk.0.attn_q', 'blk.0.ffn_up'].map((name) => [
      gguf.modules.get(name)!.a.dtype,
      gguf.modules.get(name)!.b.dtype,
    ]);
    expect(types).toEqual([
      ['Q8_0', 'Q8_0'],
      ['Q8_0', 'F16'],
    ]);
    await writeAdapter(gguf, at('q8.gguf'));
    const back = await convertLora(await readAdapter(at('q8.gguf')), { base, dtype: 'BF16' });
    expect([...back.modules.values()].every(({ a, b }) => a.dtype === 'BF16' && b.dtype === 'BF16')).toBe(true);
    expect(await failure(convertLora(gguf, { base, dtype: 'Q8_0' }))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    expect(await failure(resizeLora(adapter, { rank: 2, dtype: 'Q8_0' }))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
  });

  it('finds the base by the name in the adapter, or asks for it', async () => {
    const base = await baseWith('llama', LLAMA);
    const named = await randomAdapter(MODULES, { ...CONFIG, base_model_name_or_path: base });
    expect((await convertLora(named)).architecture).toBe('llama');
    const nameless = await randomAdapter(MODULES, CONFIG);
    expect(await failure(convertLora(nameless))).toMatchObject({
      code: 'ERR_ARGUMENT',
      hint: expect.stringContaining('--base'),
    });
    expect((await convertLora(nameless, { base: join(base, 'config.json') })).architecture).toBe('llama');
  });

  it('refuses by name what has no counterpart', async () => {
    const base = await baseWith('mixtral', { ...LLAMA, model_type: 'mixtral' });
    const expert = await randomAdapter(
      { 'model.layers.0.block_sparse_moe.experts.1.w1': { out: 8, in: 8, rank: 2 } },
      { r: 2 },
    );
    expect(await failure(convertLora(expert, { base }))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('experts.1.w1'),
    });
    const head = await randomAdapter({ lm_head: { out: 8, in: 8, rank: 2 } }, { r: 2 });
    const tied = await baseWith('tied', { ...LLAMA, tie_word_embeddings: true });
    expect((await failure(convertLora(head, { base: tied }))).message).toContain('its embedding');
    const other = await convertLora(await randomAdapter(MODULES, CONFIG), { base: await baseWith('llama', LLAMA) });
    const qwen = await baseWith('qwen', { model_type: 'qwen2', num_attention_heads: 4 });
    expect((await failure(convertLora(other, { base: qwen }))).message).toContain('"llama"');
    expect(await failure(convertLora(other, { to: 'gguf' }))).toMatchObject({ code: 'ERR_ARGUMENT' });
  });
});

describe('operations on adapters in GGUF', () => {
  it('stay in GGUF: resizing and merging', async () => {
    const base = await baseWith('llama', LLAMA);
    const gguf = await convertLora(await randomAdapter(MODULES, CONFIG), { base });
    const { adapter: small } = await resizeLora(gguf, { rank: 1, dtype: 'F16' });
    await writeAdapter(small, at('small.gguf'));
    const read = await readAdapter(at('small.gguf'));
    expect([...read.modules.values()].map(({ rank, scaling }) => [rank, scaling])).toEqual(Array(4).fill([1, 1]));
    const { adapter: sum } = await mergeLoras([
      { adapter: gguf, weight: 1 },
      { adapter: read, weight: -1 },
    ]);
    expect(sum.architecture).toBe('llama');
    await writeAdapter(sum, at('sum.gguf'));
    const expected = [...gguf.modules.values()].map((module) => {
      const cut = reference(read.modules.get(module.name)!);
      return reference(module).map((value, i) => value - cut[i]!);
    });
    for (const [i, module] of [...(await readAdapter(at('sum.gguf'))).modules.values()].entries()) {
      expect(distance(reference(module), expected[i]!)).toBeLessThan(1e-5 * norm(expected[i]!));
    }
    const peft = await randomAdapter(MODULES, CONFIG);
    const mixed = mergeLoras([
      { adapter: gguf, weight: 1 },
      { adapter: peft, weight: 1 },
    ]);
    expect(await failure(mixed)).toMatchObject({ code: 'ERR_UNSUPPORTED', hint: expect.stringContaining('convert') });
  });
});

describe('the file that is written', () => {
  it('is checked: names, shapes and bytes', async () => {
    const tensor: NewGgufTensor = { type: 'F32', shape: [2], bytes: new Uint8Array(8) };
    const write = (name: string, own: NewGgufTensor) => writeGguf(at('never.gguf'), new Map(), new Map([[name, own]]));
    expect(await failure(write('x'.repeat(64), tensor))).toMatchObject({ code: 'ERR_ARGUMENT' });
    expect(await failure(write('x', { ...tensor, shape: [1, 1, 1, 1, 2] }))).toMatchObject({ code: 'ERR_ARGUMENT' });
    expect(await failure(write('x', { ...tensor, shape: [3] }))).toMatchObject({ code: 'ERR_SHAPE' });
    expect(await failure(write('x', { type: 'Q8_0', shape: [16], bytes: new Uint8Array(17) }))).toMatchObject({
      code: 'ERR_SHAPE',
    });
    await expect(readFile(at('never.gguf'))).rejects.toThrow('ENOENT');
  });
});
