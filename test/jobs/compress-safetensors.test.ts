import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { open } from '../../lib/checkpoint/open.js';
import { type NewTensor, writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { type ExpandReport, expandCheckpoint } from '../../lib/compress/expand.js';
import { writeMoments } from '../../lib/compress/moments.js';
import { filesIn, readTensor, tinyGpt2, tinyLlama, weights, writeModel } from '../support/checkpoints.js';
import { lowrank } from '../support/cli.js';
import { failure, kind } from '../support/failure.js';
import { temporaryFolder } from '../support/folder.js';
import { validGguf } from '../support/gguf.js';
import { distance, norm, product } from '../support/matrices.js';
import { rankOf } from '../support/ranks.js';
import { fill } from '../support/safetensors.js';

const CONFIG = 'config.json';
const LOADER = 'lowrank_loader.py';
const GPT2 = { model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] };

async function prepared(tensors = tinyLlama(), options: Parameters<typeof writeModel>[2] = {}) {
  const folder = temporaryFolder();
  const path = (name: string) => join(folder, name);
  return { path, source: await writeModel(path('model'), tensors, options), out: path('small'), dense: path('dense') };
}

/** What a folder's config.json says, under the key `lowrank`. */
async function said(folder: string) {
  const { lowrank: key, ...others } = JSON.parse(await readFile(join(folder, CONFIG), 'utf8')) as {
    lowrank?: { version: number; storage: string; layers: Record<string, number>; transposed?: string[] };
  };
  return { key, others };
}

/** Names, types, shapes and files of a checkpoint's tensors, in their order. */
async function described(path: string) {
  const checkpoint = await open(path);
  await checkpoint.close();
  return [...checkpoint.tensors.values()].map(({ name, dtype, shape, file, offset }) => {
    return { name, dtype, shape, file, offset };
  });
}

/**
 * The product of a module's factors in a compressed model, [n, m], by the text of
 * docs/compressing.md.
 */
async function multiplied(folder: string, module: string, storage: string): Promise<Float64Array> {
  const read = (what: string) => readTensor(folder, `${module}.lowrank.${what}`);
  const [left, right] = [await read('left'), await read('right')];
  const [n, k] = left.shape as [number, number];
  if (storage === 'factors') return product(left.data, right.data, n, k, right.shape[1]!);
  const order = new Int32Array((await read('order')).bytes.slice().buffer);
  const m = order.length;
  const columns = new Float64Array(k * m);
  for (const [output, at] of order.entries()) {
    for (let i = 0; i < k; i++) {
      columns[i * m + output] = at < k ? Number(i === at) : right.data[i * (m - k) + at - k]!;
    }
  }
  return product(left.data, columns, n, k, m);
}

describe('compress of safetensors', () => {
  it.each(['pivoted', 'factors'] as const)(
    'writes %s, and config.json and a loader that know them',
    async (storage) => {
      const { source, out } = await prepared();
      const report = await compressCheckpoint(source, out, { keep: 0.92, uncalibrated: true, storage });
      const ranks = Object.fromEntries(
        report.layers.flatMap((layer) => {
          const rank = rankOf(layer);
          return rank === undefined ? [] : [[layer.name.replace(/\.weight$/, ''), rank]];
        }),
      );
      expect(Object.keys(ranks).length).toBeGreaterThan(2);
      const { key, others } = await said(out);
      expect(key).toEqual({ version: 1, storage, layers: ranks });
      expect(others).toEqual((await said(source)).others);
      expect((await filesIn(out)).get(LOADER)!.toString()).toContain('def load(');
      const numbers = (await described(out))
        .filter(({ name, dtype }) => dtype === 'F32' && name.includes('_proj'))
        .reduce((sum, { shape: [m, n] }) => sum + m! * n!, 0);
      expect(numbers).toBe(report.parameters.after);
      expect(report.leftOut.map(({ name }) => name)).toEqual(['model.embed_tokens.weight']);
    },
  );

  it('moves the error of the mean into the bias of a module', async () => {
    const [weight, bias] = ['h.0.mlp.c_fc.weight', 'h.0.mlp.c_fc.bias'];
    const tensors = tinyGpt2('F32')
      .set(bias, weights([40], 'F32', 160))
      .set('h.1.mlp.c_fc.bias', weights([40], 'F32', 161));
    const { source, out, path } = await prepared(tensors, { config: GPT2 });
    const mean = Float64Array.from({ length: 16 }, (_, i) => 1 + i / 16);
    const second = new Float64Array(256);
    for (let i = 0; i < 256; i++) {
      const [j, k] = [Math.floor(i / 16), i % 16];
      second[i] = mean[j]! * mean[k]! + (j === k ? 0.7 ** j : 0);
    }
    await writeMoments(path('moments'), new Map([[weight, { kind: 'inputs', second, mean, count: 1000 }]]));
    const options = { keep: 0.75, calibration: path('moments'), storage: 'factors' } as const;
    await compressCheckpoint(source, out, options);
    const small = await multiplied(out, 'h.0.mlp.c_fc', 'factors');
    const [w, before, after] = [
      await readTensor(source, weight),
      await readTensor(source, bias),
      await readTensor(out, bias),
    ];
    const outputOf = (numbers: ArrayLike<number>, b: ArrayLike<number>) =>
      Float64Array.from({ length: 40 }, (_, j) => mean.reduce((sum, x, i) => sum + x * numbers[i * 40 + j]!, b[j]!));
    const expected = outputOf(w.data, before.data);
    expect(distance(outputOf(small, after.data), expected)).toBeLessThan(1e-5 * norm(expected));
    expect(distance(outputOf(small, before.data), expected)).toBeGreaterThan(1e-3 * norm(expected));
    const other = 'h.1.mlp.c_fc.bias';
    expect((await readTensor(out, other)).bytes).toEqual((await readTensor(source, other)).bytes);
  });

  it('leaves everything as it is where nothing becomes factors', async () => {
    const { source, out } = await prepared();
    await compressCheckpoint(source, out, { keep: 1, uncalibrated: true });
    expect(await filesIn(out)).toEqual(await filesIn(source));
  });

  it('is planned, run and merged to the bytes of the single run', async () => {
    const { source, out, path } = await prepared();
    const options = ['--keep', '0.8', '--uncalibrated'];
    const run = async (...args: string[]) => expect(await lowrank(args)).toMatchObject({ code: 0 });
    await run('compress', source, '-o', out, '--threads', '1', ...options);
    await run(
      'plan',
      source,
      '-o',
      path('merged'),
      '--threads',
      '1',
      '--shards',
      '2',
      '-f',
      path('plan.json'),
      ...options,
    );
    for (const shard of ['1/2', '2/2']) await run('run', path('plan.json'), '--shard', shard);
    await run('merge', path('plan.json'));
    expect(await filesIn(path('merged'))).toEqual(await filesIn(out));
  });

  it('refuses what cannot hold factors, and says what to do', async () => {
    const { source, out, path } = await prepared();
    const options = { keep: 0.8, uncalibrated: true };
    await fill(path('.'), { 'model.gguf': validGguf([], []) });
    expect(await failure(compressCheckpoint(path('model.gguf'), out, options))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('GGUF'),
      hint: expect.stringContaining('lowrank expand'),
    });
    const file = join(source, 'model.safetensors');
    expect((await failure(compressCheckpoint(file, out, options))).hint).toContain('folder');
    expect(await failure(compressCheckpoint(source, out, { bits: 4, uncalibrated: true }))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      hint: expect.stringContaining('ONNX'),
    });
    const example = join(import.meta.dirname, '..', '..', 'examples', 'noisy-recall', 'model');
    expect((await failure(compressCheckpoint(example, out, options))).message).toContain('model.onnx');
    await compressCheckpoint(source, out, options);
    const again = await failure(compressCheckpoint(out, path('again'), options));
    expect(again.message).toContain('compressed already');
  });
});

describe('expand', () => {
  const cases = (['pivoted', 'factors'] as const).flatMap((storage) => [
    { storage, model: 'llama', tensors: () => tinyLlama(), config: undefined, shards: 1 },
    { storage, model: 'llama in shards', tensors: () => tinyLlama('BF16'), config: undefined, shards: 3 },
    { storage, model: 'gpt2', tensors: () => tinyGpt2('F32'), config: GPT2, shards: 1 },
    { storage, model: 'gpt2 as Linear', tensors: () => tinyGpt2('F16', { linear: true }), config: GPT2, shards: 1 },
  ]);

  it.each(cases)('multiplies $storage of $model out', async ({ storage, tensors, config, shards }) => {
    const { source, out, dense } = await prepared(tensors(), { ...(config && { config }), shards });
    const { layers } = await compressCheckpoint(source, out, { keep: 0.92, uncalibrated: true, storage });
    const report = await expandCheckpoint(out, dense);
    const factored = layers.filter((layer) => rankOf(layer) !== undefined);
    expect(factored.length).toBeGreaterThan(1);
    expect(report.layers.map(({ name, rank }) => [name, rank])).toEqual(
      factored.map((layer) => [layer.name, rankOf(layer)]),
    );

    // What is not factored has its old bytes, in the old places, and so have all other files.
    expect(await described(dense)).toEqual(await described(source));
    const [before, after] = [await filesIn(source), await filesIn(dense)];
    expect([...after.keys()]).toEqual([...before.keys()]);
    expect(after.get(CONFIG)).toEqual(before.get(CONFIG));
    const index = 'model.safetensors.index.json';
    if (shards > 1) expect(JSON.parse(String(after.get(index)))).toEqual(JSON.parse(String(before.get(index))));
    const names = new Set(factored.map(({ name }) => name));
    const { key } = await said(out);
    for (const name of tensors().keys()) {
      const [was, is] = [await readTensor(source, name), await readTensor(dense, name)];
      if (!names.has(name)) {
        expect(is.bytes, name).toEqual(was.bytes);
        continue;
      }
      const module = name.replace(/\.weight$/, '');
      const expected = await multiplied(out, module, storage);
      const turned = key!.transposed?.includes(module) ?? false;
      const [rows, columns] = is.shape as [number, number];
      const found = turned ? is.data : is.data.map((_, at) => is.data[(at % rows) * columns + Math.floor(at / rows)]!);
      const rounding = { F32: 1e-6, BF16: 4e-3, F16: 5e-4 }[is.dtype as 'F32'];
      expect(distance(found, expected), name).toBeLessThan(rounding * norm(expected));
      const error = layers.find((layer) => layer.name === name)!.error;
      expect(distance(is.data, was.data) / norm(was.data)).toBeLessThan(error + 3 * rounding);
    }
  });

  it('knows which weights lay [in, out]', async () => {
    const { source, out } = await prepared(tinyGpt2('F32'), { config: GPT2 });
    await compressCheckpoint(source, out, { keep: 0.8, uncalibrated: true });
    const { key } = await said(out);
    expect(key!.transposed).toEqual(Object.keys(key!.layers));
  });

  it('expands heads that are factors, too', async () => {
    const tensors = tinyLlama().set('lm_head.weight', weights([32, 16], 'F32', 90));
    const config = { model_type: 'llama', vocab_size: 32, tie_word_embeddings: false };
    const { source, out, dense } = await prepared(tensors, { config });
    await compressCheckpoint(source, out, { keep: 0.75, uncalibrated: true, heads: true });
    expect((await said(out)).key!.layers).toHaveProperty('lm_head');
    await expandCheckpoint(out, dense);
    expect(await described(dense)).toEqual(await described(source));
  });

  it('refuses what is not compressed, or not here', async () => {
    const { source, dense, path } = await prepared();
    expect(await failure(expandCheckpoint(source, dense))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      hint: expect.stringContaining('lowrank compress'),
    });
    await fill(path('.'), { 'model.gguf': validGguf([], []) });
    expect(await failure(expandCheckpoint(path('model.gguf'), dense))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('gguf'),
    });
  });

  it('refuses factors that do not fit to config.json', async () => {
    const { source, out, path, dense } = await prepared();
    await compressCheckpoint(source, out, { keep: 0.8, uncalibrated: true });
    const { key, others } = await said(out);
    const [module, rank] = Object.entries(key!.layers)[0]!;
    const changed = async (change: Partial<NonNullable<typeof key>>) => {
      const folder = path('changed');
      await rm(folder, { recursive: true, force: true });
      await cp(out, folder, { recursive: true });
      await writeFile(join(folder, CONFIG), JSON.stringify({ ...others, lowrank: { ...key!, ...change } }));
      return kind(expandCheckpoint(folder, dense));
    };
    expect(await changed({ storage: 'factors' })).toBe('InvalidFactors');
    expect(await changed({ layers: { ...key!.layers, [module]: rank - 1 } })).toBe('InvalidFactors');
    expect(await changed({ layers: { ...key!.layers, 'model.other': 8 } })).toBe('InvalidFactors');
    expect(await changed({ layers: {} })).toBe('InvalidFactors');
    expect(await changed({ layers: { [module]: 0 } })).toBe('InvalidConfig');
    expect(await changed({ version: 2 })).toBe('InvalidConfig');

    const file = join(out, 'model.safetensors');
    const checkpoint = await open(out);
    const tensors = new Map<string, NewTensor>();
    for (const { name, dtype, shape } of checkpoint.tensors.values()) {
      tensors.set(name, { dtype: dtype as NewTensor['dtype'], shape, bytes: await checkpoint.read(name) });
    }
    await checkpoint.close();
    const order = tensors.get(`${module}.lowrank.order`)!;
    tensors.set(`${module}.lowrank.order`, { ...order, bytes: order.bytes.map(() => 0) });
    await writeSafetensors(file, tensors, new Map([['format', 'pt']]), { replace: true });
    expect(await kind(expandCheckpoint(out, dense))).toBe('InvalidFactors');
  });

  it('is a command, with a table and JSON', async () => {
    const { source, out, dense, path } = await prepared();
    await lowrank(['compress', source, '-o', out, '--keep', '0.8', '--uncalibrated']);
    const table = await lowrank(['expand', out, '-o', dense]);
    expect(table).toMatchObject({ code: 0 });
    expect(table.stdout).toContain('weights multiplied out');
    const { stdout } = await lowrank(['expand', out, '-o', path('json'), '--json']);
    const report = JSON.parse(stdout) as ExpandReport;
    expect(report).toMatchObject({ source: out, out: path('json') });
    expect(report.layers[0]).toMatchObject({ dtype: 'F32', rank: expect.any(Number) });
    expect(await lowrank(['expand', out])).toMatchObject({ code: 2 });
    expect(await lowrank(['expand', out, '-o', dense])).toMatchObject({ code: 1 });
  });
});
