import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { open } from '../../lib/checkpoint/open.js';
import { type NewTensor, writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';
import { filesIn, tinyLlama, weights, writeModel } from '../support/checkpoints.js';
import { lowrank, spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';
import { assembled } from '../support/gguf.js';
import { linearQuestions, writeLinearModel } from '../support/linear-model.js';

const at = temporaryPaths();
const preload = new URL('../support/fake-statfs.mjs', import.meta.url).href;
const withFree = (bytes: number) => ({ NODE_OPTIONS: `--import ${preload}`, FREE_BYTES: String(bytes) });
const Q = 'model.layers.0.self_attn.q_proj';
const EDIT = ['--tensor', `${Q}.weight:0.5`];

let folder: string;
let single: string;
let tuned: string;
let adapter: string;
let plan: string;
let search: string[];

beforeAll(async () => {
  const tensors = tinyLlama();
  folder = await writeModel(at('folder'), tensors, { shards: 2 });
  single = at('single.safetensors');
  await writeSafetensors(single, tensors);
  const other: Map<string, NewTensor> = new Map(tensors);
  const { dtype, shape, bytes } = tensors.get(`${Q}.weight`)!;
  other.set(`${Q}.weight`, {
    dtype,
    shape,
    bytes: fromFloat32(
      toFloat32(bytes, 'F32').map((x, i) => x + i),
      'F32',
    ),
  });
  tuned = await writeModel(at('tuned'), other);
  adapter = at('adapter');
  await mkdir(adapter);
  await writeFile(join(adapter, 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', r: 2, lora_alpha: 2 }));
  const factors = new Map([
    [`base_model.model.${Q}.lora_A.weight`, weights([2, 16], 'F32', 7)],
    [`base_model.model.${Q}.lora_B.weight`, weights([16, 2], 'F32', 8)],
  ]);
  await writeSafetensors(join(adapter, 'adapter_model.safetensors'), factors);
  plan = at('plan.json');
  await lowrank(['plan', folder, '-o', at('never'), '--at', '0:mlp:0.5', '-f', plan]);
  await lowrank(['run', plan, '--shard', '1/1']);
  const model = await writeLinearModel(at('linear'));
  const lines = (await linearQuestions(model, 20)).map(
    ({ prompt, choices, label }) => `${JSON.stringify({ prompt, choices, label })}\n`,
  );
  await writeFile(at('validation.jsonl'), lines.join(''));
  search = ['search', model, '--dataset', at('validation.jsonl'), '--command', `${process.execPath} -e 0`];
});

/** Bytes of all files of an output. */
async function sizeOf(path: string): Promise<number> {
  return [...(await filesIn(path)).values()].reduce((sum, { length }) => sum + length, 0);
}

const hidden = async () => (await readdir(at())).filter((name) => name.startsWith('.'));

describe('the size of an output, before it is made', () => {
  it.each(['folder', 'single'])('is shown by laser --dry-run, for a %s', async (kind) => {
    const source = kind === 'folder' ? folder : single;
    const out = at(kind === 'folder' ? 'sized' : 'sized.safetensors');
    const dry = JSON.parse((await lowrank(['laser', source, '--dry-run', '--json', ...EDIT])).stdout);
    expect((await lowrank(['laser', source, '--dry-run', ...EDIT])).stdout).toMatch(/^output \d.* kB$/m);
    expect((await lowrank(['laser', source, '-o', out, ...EDIT])).code).toBe(0);
    await mkdir(at('around'));
    await rename(out, at('around', 'x'));
    expect(dry.output).toEqual({ bytes: await sizeOf(at('around')) });
    await rm(at('around'), { recursive: true });
  });

  it('counts a type that changes', async () => {
    const recall = fileURLToPath(new URL('../../examples/noisy-recall/gguf', import.meta.url));
    const checkpoint = await open(join(recall, 'model.gguf'));
    const name = 'blk.1.ffn_up.weight';
    const q8 = fromFloat32(toFloat32(await checkpoint.read(name), 'F32'), 'Q8_0');
    const files = await assembled(checkpoint, recall, new Map([[name, 'Q8_0']]), new Map([[name, q8]]));
    await checkpoint.close();
    const source = at('quantised');
    await mkdir(source);
    await writeFile(join(source, 'model.gguf'), files.get('model.gguf')!);
    const glob = ['--tensor', `${name}:0.5`, '--quant', 'F32'];
    const dry = await lowrank(['laser', source, '--dry-run', '--json', ...glob]);
    expect(dry, dry.stderr).toMatchObject({ code: 0 });
    const out = at('quantised-out');
    expect((await lowrank(['laser', source, '-o', out, ...glob])).code).toBe(0);
    expect(JSON.parse(dry.stdout).output).toEqual({ bytes: await sizeOf(out) });
    expect(await sizeOf(out)).not.toBe(await sizeOf(source));
  });

  it('is shown by plan, lora merge and lora extract', async () => {
    const planned = await lowrank(['plan', folder, '-o', at('p'), ...EDIT, '-f', at('other.json'), '--json']);
    const sameSize = { bytes: await sizeOf(folder) };
    expect(JSON.parse(planned.stdout).output).toEqual(sameSize);
    expect((await lowrank(['plan', folder, '-o', at('p'), ...EDIT, '-f', at('other.json')])).stdout).toMatch(
      /^output /m,
    );

    const merge = ['lora', 'merge', folder, adapter, '--dry-run'];
    expect(JSON.parse((await lowrank([...merge, '--json'])).stdout)).toMatchObject({
      output: sameSize,
      weights: [{ tensor: `${Q}.weight`, rank: 2, adapters: 1 }],
    });
    expect((await lowrank(merge)).stdout).toMatch(/q_proj.*\n1 matrix, nothing written\noutput \d.* kB\n$/);

    const extract = ['lora', 'extract', folder, tuned, '--tensor', `${Q}.weight`, '--rank', '3'];
    const dry = JSON.parse((await lowrank([...extract, '--dry-run', '--json'])).stdout);
    expect(dry).toMatchObject({ modules: [{ name: expect.stringContaining('q_proj'), rank: 3 }] });
    expect(dry.output).toEqual({ mostBytes: 3 * (16 + 16) * 4 });
    const energy = ['lora', 'extract', folder, tuned, '--energy', '0.5', '--dry-run'];
    expect((await lowrank(energy)).stdout).toMatch(/^output at most \d/m);
    expect(await hidden()).toEqual([]);
  });
});

describe('a disk with too little room', () => {
  it.each<[string, (out: string) => string[], number]>([
    ['laser', (out) => ['laser', folder, '-o', out, ...EDIT], 1000],
    ['laser of a file', (out) => ['laser', single, '-o', `${out}.safetensors`, ...EDIT], 1000],
    ['lora merge', (out) => ['lora', 'merge', folder, adapter, '-o', out], 1000],
    ['lora extract', (out) => ['lora', 'extract', folder, tuned, '-o', out, '--rank', '4'], 100],
    ['lora extract by energy', (out) => ['lora', 'extract', folder, tuned, '-o', out, '--energy', '0.99'], 50],
    ['lora resize', (out) => ['lora', 'resize', adapter, '-o', out, '--rank', '1'], 50],
    ['merge', (out) => ['merge', plan, '-o', out], 1000],
    ['search', (out) => [...search, '-o', out], 1000],
  ])('is refused before the work: %s', async (name, job, free) => {
    const out = at('full');
    const args = job(out);
    const run = await spawnLowrank([...args, '--json'], { env: withFree(free) });
    expect(run, run.stderr).toMatchObject({ code: 1 });
    const { error } = JSON.parse(run.stdout);
    expect(error).toMatchObject({ code: 'ERR_CHECKPOINT_IO', hint: expect.stringMatching(/^Free .*, or write/) });
    expect(error.message).toMatch(new RegExp(`no space left on the disk: \\d+ bytes needed, ${free} free`));
    expect(run.stderr).not.toContain('copying');
    // By an energy the rank, and so the size, comes out of the work.
    if (!name.includes('energy')) expect(run.stderr).not.toMatch(/^\d+\/\d+ /m);
    expect(existsSync(args[args.indexOf('-o') + 1]!)).toBe(false);
    expect(await hidden()).toEqual([]);
  });

  it('is refused before a shard is computed', async () => {
    const other = at('unrun.json');
    await lowrank(['plan', folder, '-o', at('never'), '--at', '0:mlp:0.5', '-f', other]);
    const run = await spawnLowrank(['run', other, '--shard', '1/1'], { env: withFree(1000) });
    expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining('1000 free') });
    expect(run.stderr).not.toMatch(/^\d+\/\d+ /m);
    expect(existsSync(at('unrun.results'))).toBe(false);
    // What is there takes no room again.
    expect(await spawnLowrank(['run', plan, '--shard', '1/1'], { env: withFree(0) })).toMatchObject({ code: 0 });
  });

  it('does not matter if the file system cannot report free space', async () => {
    const env = { NODE_OPTIONS: `--import ${preload}`, FREE_BYTES: 'unknown' };
    expect(await spawnLowrank(['laser', folder, '-o', at('unknown'), ...EDIT], { env })).toMatchObject({ code: 0 });
  });
});

describe('progress', () => {
  it.each<[string, (out: string) => string[], RegExp]>([
    ['an output that is there', () => ['laser', folder, '-o', tuned, ...EDIT], /already exists/],
    ['an output without a folder', () => ['laser', folder, '-o', at('no', 'where'), ...EDIT], /does not exist/],
    ['a tensor that is not there', (out) => ['laser', folder, '-o', out, '--tensor', 'nothing:0.5'], /nothing/],
    ['a layer that is not there', (out) => ['laser', folder, '-o', out, '--at', '9:mlp:0.5'], /9/],
    ['a limit of memory', (out) => ['laser', folder, '-o', out, ...EDIT, '--memory', '1MB'], /memory/],
    [
      'an output in the checkpoint',
      () => ['laser', folder, '-o', join(folder, 'x'), ...EDIT],
      /is inside the checkpoint/,
    ],
    ['a merge to what is there', () => ['merge', plan, '-o', tuned], /already exists/],
    ['an adapter merged into what is there', () => ['lora', 'merge', folder, adapter, '-o', tuned], /already exists/],
    ['an adapter of another model', (out) => ['lora', 'merge', at('linear'), adapter, '-o', out], /q_proj/],
  ])('does not speak of copying before %s is refused', async (_, job, message) => {
    const run = await lowrank(job(at('never')));
    expect(run).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(message) });
    expect(run.stderr).not.toContain('copying');
    expect(await hidden()).toEqual([]);
  });

  it('speaks of copying when there is a copy to be made', async () => {
    const run = await lowrank(['laser', folder, '-o', at('copied'), ...EDIT]);
    expect(run).toMatchObject({ code: 0, stderr: expect.stringContaining('copying the checkpoint') });
  });
});
