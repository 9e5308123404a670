import { execFileSync } from 'node:child_process';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Checkpoint, TensorChange } from '../../../lib/checkpoint/checkpoint.js';
import { type CopyOptions, copyForEdit } from '../../../lib/checkpoint/copy/copy-for-edit.js';
import { sizeOfCopy } from '../../../lib/checkpoint/copy/size.js';
import { open } from '../../../lib/checkpoint/open.js';
import { type NewTensor, SafetensorsFile, writeSafetensors } from '../../../lib/checkpoint/safetensors/file.js';
import { tinyLlama, weights, writeModel } from '../../support/checkpoints.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { KILLED } from '../../support/killed.js';

const Q = 'model.layers.0.self_attn.q_proj.weight';
const UP = 'model.layers.1.mlp.up_proj.weight';
const K = 'model.layers.0.self_attn.k_proj.weight';
/** Two factors and their pivots in the place of one matrix, and a kept tensor of another type. */
const NEW: ReadonlyMap<string, ReadonlyMap<string, NewTensor>> = new Map([
  [
    Q,
    new Map([
      ['model.layers.0.self_attn.q_proj.b', weights([16, 3], 'F32', 71)],
      ['model.layers.0.self_attn.q_proj.a', weights([3, 16], 'F16', 72)],
      ['model.layers.0.self_attn.q_proj.pivots', { dtype: 'I32', shape: [3], bytes: Buffer.alloc(12, 7) }],
    ]),
  ],
  [UP, new Map([[UP, weights([24, 16], 'BF16', 73)]])],
]);
const CHANGES: ReadonlyMap<string, TensorChange> = new Map<string, TensorChange>([
  ...[...NEW].map(([name, tensors]): [string, TensorChange] => [
    name,
    { by: [...tensors].map(([name, { dtype, shape }]) => ({ name, dtype, shape })) },
  ]),
  [K, { as: 'F32' }],
]);
const EDITED = weights([8, 16], 'F32', 74);
const FILES: ReadonlyMap<string, Uint8Array> = new Map([
  ['config.json', Buffer.from('{"model_type":"llama","factored":true}')],
  ['loader.py', Buffer.from('print()\n')],
]);
const JOB: CopyOptions = { changes: CHANGES, files: FILES, job: { description: 'replace' } };
const FULL = Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' });

/** The tensors of the copy, by the names that they have there. */
function expected(): Map<string, NewTensor> {
  const tensors = tinyLlama();
  tensors.set(K, EDITED);
  for (const [name, replacement] of NEW) {
    tensors.delete(name);
    for (const [own, tensor] of replacement) tensors.set(own, tensor);
  }
  return tensors;
}

const WRITTEN = [...[...NEW.values()].flatMap((tensors) => [...tensors]), [K, EDITED] as const];

const opened: Checkpoint[] = [];
afterAll(() => Promise.all(opened.map((checkpoint) => checkpoint.close())));

async function source(shards: number): Promise<{ root: string; folder: string; out: string; checkpoint: Checkpoint }> {
  const root = temporaryFolder();
  const folder = await writeModel(join(root, 'in'), tinyLlama(), { shards });
  const checkpoint = await open(folder);
  opened.push(checkpoint);
  return { root, folder, out: join(root, 'out'), checkpoint };
}

async function contents(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, (await readFile(join(folder, name))).toString('latin1')])),
  );
}

async function tensorsOf(path: string): Promise<Map<string, NewTensor>> {
  const checkpoint = await open(path);
  try {
    const tensors = new Map<string, NewTensor>();
    for (const { name, dtype, shape } of checkpoint.tensors.values()) {
      tensors.set(name, { dtype, shape, bytes: Buffer.from(await checkpoint.read(name)) } as NewTensor);
    }
    return tensors;
  } finally {
    await checkpoint.close();
  }
}

const sorted = (tensors: ReadonlyMap<string, NewTensor>) =>
  [...tensors]
    .map(([name, { bytes, ...rest }]) => ({ name, ...rest, hex: Buffer.from(bytes).toString('hex') }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));

async function write(checkpoint: Checkpoint, out: string, options: CopyOptions = JOB): Promise<void> {
  const copy = await copyForEdit(checkpoint, out, options);
  for (const [name, { bytes }] of WRITTEN) {
    if (copy.finished(name) === undefined) await copy.write(name, bytes);
  }
  await copy.commit();
}

describe('a tensor that is replaced by others', () => {
  it('gives the file that the writer of safetensors makes of the new tensors', async () => {
    const { root, folder, checkpoint } = await source(1);
    const whole = join(root, 'expected.safetensors');
    await writeSafetensors(whole, expected(), new Map([['format', 'pt']]));
    const file = await open(join(folder, 'model.safetensors'));
    opened.push(file);
    await write(file, join(root, 'out.safetensors'), { changes: CHANGES });
    await write(checkpoint, join(root, 'out'), { changes: CHANGES });
    for (const out of ['out.safetensors', 'out/model.safetensors']) {
      expect((await readFile(join(root, out))).equals(await readFile(whole)), out).toBe(true);
    }
  });

  it('leaves every other byte where the source has it: only headers and new tensors are written', async () => {
    const { folder, checkpoint } = await source(1);
    const [layout, ...more] = checkpoint.layout(CHANGES);
    expect([layout!.file, more]).toEqual(['model.safetensors', []]);
    const parts = layout!.parts!;
    expect(parts.map(({ kind }) => kind).filter((kind) => kind === 'bytes')).toEqual(['bytes']);
    expect([...layout!.places.keys()].sort()).toEqual(WRITTEN.map(([name]) => name).sort());
    const bytes = await readFile(join(folder, 'model.safetensors'));
    const copied = Buffer.concat(
      parts.flatMap((part) => (part.kind === 'copy' ? [bytes.subarray(part.offset, part.offset + part.bytes)] : [])),
    );
    const untouched = [...tinyLlama()].filter(([name]) => !CHANGES.has(name));
    expect(copied.length).toBe(untouched.reduce((sum, [, tensor]) => sum + tensor.bytes.length, 0));
    // Neighbours are copied together.
    expect(parts.filter(({ kind }) => kind === 'copy').length).toBeLessThan(untouched.length / 2);
  });

  it('aligns every tensor to its elements, as PyTorch needs it', async () => {
    const { root, folder } = await source(1);
    const file = await open(join(folder, 'model.safetensors'));
    opened.push(file);
    const out = join(root, 'out.safetensors');
    await write(file, out, { changes: CHANGES });
    const written = await SafetensorsFile.open(out);
    await written.close();
    const size = { F32: 4, I32: 4, F16: 2, BF16: 2 } as Record<string, number>;
    for (const span of written.header.tensors) {
      expect([span.name, written.offset(span) % size[span.dtype]!]).toEqual([span.name, 0]);
    }
  });

  it('goes into the shard of the old one, and the index names it', async () => {
    const { folder, out, checkpoint } = await source(3);
    await write(checkpoint, out);
    expect(sorted(await tensorsOf(out))).toEqual(sorted(expected()));
    const [before, after] = [await contents(folder), await contents(out)];
    const index = (files: Record<string, string>) => JSON.parse(files['model.safetensors.index.json']!);
    const [old, now] = [index(before), index(after)];
    const total = [...expected().values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
    expect(now.metadata).toEqual({ total_size: total });
    for (const [name, tensors] of NEW) {
      for (const own of tensors.keys()) expect(now.weight_map[own]).toBe(old.weight_map[name]);
    }
    expect(now.weight_map[Q]).toBeUndefined();
    expect(after['config.json']).toBe('{"model_type":"llama","factored":true}');
    expect(after['loader.py']).toBe('print()\n');
    expect(after['tokenizer.json']).toBe(before['tokenizer.json']);
    const mode = async (file: string) => (await stat(file)).mode & 0o777;
    expect(await mode(join(out, 'loader.py'))).toBe(await mode(join(folder, 'config.json')));
    const bytes = Object.values(after).reduce((sum, text) => sum + text.length, 0);
    expect(await sizeOfCopy(checkpoint, { changes: CHANGES, files: FILES })).toBe(bytes);
  });

  it('keeps other members of an index, and updates its count of parameters', async () => {
    const { folder, out } = await source(2);
    const file = join(folder, 'model.safetensors.index.json');
    const index = JSON.parse(await readFile(file, 'utf8'));
    const metadata = { total_parameters: 10_000, total_size: 40_000, note: 'ä', parts: [1] };
    await writeFile(file, JSON.stringify({ format: 'x', metadata, weight_map: index.weight_map }));
    const checkpoint = await open(folder);
    opened.push(checkpoint);
    const by = [{ name: 'new', dtype: 'F16', shape: [5] }] as const;
    const copy = await copyForEdit(checkpoint, out, { changes: new Map([[Q, { by }]]) });
    await copy.write('new', Buffer.alloc(10));
    await copy.commit();
    const now = JSON.parse(await readFile(join(out, 'model.safetensors.index.json'), 'utf8'));
    expect(Object.keys(now)).toEqual(['format', 'metadata', 'weight_map']);
    expect(now.metadata).toEqual({
      ...metadata,
      total_parameters: 10_000 - 256 + 5,
      total_size: 40_000 - 1024 + 10,
    });
  });

  it('is resumed after each tensor, to the same bytes', async () => {
    const { root, out, checkpoint } = await source(2);
    await write(checkpoint, join(root, 'straight'));
    const straight = await contents(join(root, 'straight'));
    for (let done = 0; done <= WRITTEN.length; done++) {
      const to = `${out}-${done}`;
      const copy = await copyForEdit(checkpoint, to, JOB);
      for (const [name, { bytes }] of WRITTEN.slice(0, done)) await copy.write(name, bytes);
      await copy.abandon(FULL);
      const again = await copyForEdit(checkpoint, to, JOB);
      expect(again.resumed?.tensors).toBe(done);
      for (const [name, { bytes }] of WRITTEN.slice(done)) await again.write(name, bytes);
      await again.commit();
      expect(await contents(to), `${done} tensors`).toEqual(straight);
    }
  });

  it('verifies headers, index and small files when it resumes', async () => {
    for (const file of [
      'model-00001-of-00002.safetensors',
      'model.safetensors.index.json',
      'config.json',
      'loader.py',
    ]) {
      const { root, out, checkpoint } = await source(2);
      await write(checkpoint, join(root, 'straight'));
      const copy = await copyForEdit(checkpoint, out, JOB);
      for (const [name, { bytes }] of WRITTEN) await copy.write(name, bytes);
      await copy.abandon(FULL);
      const path = join(root, '.out.lowrank', 'copy', file);
      const spoiled = await readFile(path);
      spoiled[5]! ^= 1;
      await writeFile(path, spoiled);
      await write(checkpoint, out);
      expect(await contents(out), file).toEqual(await contents(join(root, 'straight')));
    }
  });

  it('is resumed after the process was killed', async () => {
    const { root, folder, out, checkpoint } = await source(2);
    await write(checkpoint, join(root, 'straight'));
    const library = (name: string) => JSON.stringify(join(import.meta.dirname, '../../../lib/checkpoint', name));
    const [first, tensor] = WRITTEN[0]!;
    const options = { changes: [...CHANGES], files: [...FILES].map(([name, bytes]) => [name, String(bytes)]) };
    const script = `
      import { createServer } from 'vite';
      const server = await createServer({ configFile: false, server: { middlewareMode: true, hmr: false, ws: false, watch: null }, logLevel: 'silent', optimizeDeps: { noDiscovery: true } });
      const { open } = await server.ssrLoadModule(${library('open.ts')});
      const { copyForEdit } = await server.ssrLoadModule(${library('copy/copy-for-edit.ts')});
      const { changes, files } = ${JSON.stringify(options)};
      const copy = await copyForEdit(await open(${JSON.stringify(folder)}), ${JSON.stringify(out)}, {
        changes: new Map(changes),
        files: new Map(files.map(([name, text]) => [name, Buffer.from(text)])),
        job: { description: 'replace' },
      });
      await copy.write(${JSON.stringify(first)}, Buffer.from('${Buffer.from(tensor.bytes).toString('hex')}', 'hex'));
      process.kill(process.pid, 'SIGKILL');`;
    expect(() => execFileSync(process.execPath, ['--input-type=module', '-e', script], { stdio: 'pipe' })).toThrow(
      expect.objectContaining(KILLED),
    );
    const copy = await copyForEdit(checkpoint, out, JOB);
    expect(copy.finished(first)).toBeDefined();
    for (const [name, { bytes }] of WRITTEN.slice(1)) await copy.write(name, bytes);
    await copy.commit();
    expect(await contents(out)).toEqual(await contents(join(root, 'straight')));
    expect((await readdir(root)).sort()).toEqual(['in', 'out', 'straight']);
  });
});

describe('what is left out of a copy', () => {
  it('are tensors that nothing replaces, and files', async () => {
    const { folder, out, checkpoint } = await source(3);
    const changes = new Map<string, TensorChange>([[Q, { by: [] }]]);
    const files = new Map([['tokenizer.json', undefined]]);
    const bytes = await sizeOfCopy(checkpoint, { changes, files });
    await (await copyForEdit(checkpoint, out, { changes, files })).commit();
    const left = tinyLlama();
    left.delete(Q);
    expect(sorted(await tensorsOf(out))).toEqual(sorted(left));
    const [before, after] = [await contents(folder), await contents(out)];
    expect(Object.keys(after)).toEqual(Object.keys(before).filter((name) => name !== 'tokenizer.json'));
    expect(Object.values(after).reduce((sum, text) => sum + text.length, 0)).toBe(bytes);
    const names = Object.keys(JSON.parse(after['model.safetensors.index.json']!).weight_map);
    expect(names.sort()).toEqual([...left.keys()].sort());
  });
});

describe('changes that cannot be made', () => {
  const by = (...tensors: readonly (readonly [string, string, readonly number[]])[]) =>
    ({ by: tensors.map(([name, dtype, shape]) => ({ name, dtype, shape })) }) as TensorChange;

  it('are refused by name, whole lists of them and single tensors', async () => {
    const { checkpoint } = await source(2);
    const fault = (name: string, change: TensorChange) =>
      failure((async () => checkpoint.layout(new Map([[name, change]])))());
    const code = async (name: string, change: TensorChange) => (await fault(name, change)).code;
    expect(await code('no', by(['a', 'F32', [1]]))).toBe('ERR_NOT_FOUND');
    expect(await code(Q, by([K, 'F32', [1]]))).toBe('ERR_ARGUMENT');
    expect(await code(Q, by(['a', 'F32', [1]], ['a', 'F32', [1]]))).toBe('ERR_ARGUMENT');
    expect(await code(Q, by(['__metadata__', 'F32', [1]]))).toBe('ERR_ARGUMENT');
    expect(await code(Q, by(['a', 'F32', [-1]]))).toBe('ERR_SHAPE');
    expect(await code(Q, by(['a', 'F4', [3]]))).toBe('ERR_SHAPE');
    expect(await fault(Q, by(['a', 'Q8_0', [32]]))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: 'a: safetensors files cannot hold Q8_0',
    });
    expect(await code(Q, { as: 'Q4_K' })).toBe('ERR_UNSUPPORTED');
  });

  it('are small files that would lie elsewhere, over weights, or beside a single file', async () => {
    const { root, folder, checkpoint } = await source(1);
    const refusal = async (path: string) => {
      const files = new Map([[path, Buffer.from('x')]]);
      const error = await failure(copyForEdit(checkpoint, join(root, 'out'), { changes: new Map(), files }));
      return error.code;
    };
    for (const path of ['../a', '/a', 'a//b', '', '.', 'a\\b', 'no/a', 'model.safetensors']) {
      expect([path, await refusal(path)]).toEqual([path, 'ERR_ARGUMENT']);
    }
    const file = await open(join(folder, 'model.safetensors'));
    opened.push(file);
    const options = { changes: new Map(), files: FILES };
    const error = await failure(copyForEdit(file, join(root, 'out.safetensors'), options));
    expect(error.code).toBe('ERR_ARGUMENT');
    expect(await readdir(root)).toEqual(['in']);
  });
});
