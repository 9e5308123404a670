import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GgufFile } from '../../lib/checkpoint/gguf/file.js';
import { open } from '../../lib/checkpoint/open.js';
import { CheckpointError } from '../../lib/errors.js';
import { Model } from '../../lib/model/model.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';
import type { StoredType } from '../../lib/tensor/dtype.js';
import { elements } from '../../lib/tensor/tensor.js';
import { fakeCheckpoint } from '../support/fake-checkpoint.js';
import { temporaryFolder } from '../support/folder.js';
import { assembled, number, validGguf, word } from '../support/gguf.js';
import { ggufCorpus } from '../support/gguf-corpus.js';
import { random } from '../support/random.js';
import { python, root, runPython, unlessNoPython } from './python.js';

const stories = join(root, '..', 'shared', 'data', 'models', 'stories260K');
const STORIES_GGUF = 'stories260K-f32.gguf';
const noStories = existsSync(join(stories, STORIES_GGUF)) ? '' : ' (skipped: no ../shared/data/models/stories260K)';

interface Contents {
  readonly fields: [name: string, types: string[], value: unknown][];
  readonly tensors: Readonly<Record<string, { type: string; shape: number[]; offset: number; sha256: string }>>;
}

async function contents(file: string): Promise<Contents> {
  return JSON.parse(await runPython('gguf_reader.py', 'contents', file)) as Contents;
}

const sha256 = (data: Float32Array) =>
  createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');

/** A valid file with one to three bytes changed, taken out or put in. */
function mutated(seed: number): Buffer {
  const next = random(seed);
  const below = (n: number) => Math.floor(next() * n);
  let bytes = validGguf(
    [word('general.architecture', 'llama'), number('general.alignment', 32), number('llama.block_count', 1)],
    [
      { name: 'a', shape: [2, 4], type: 0, bytes: new Uint8Array(32).fill(1) },
      { name: 'b', shape: [32], type: 8, bytes: new Uint8Array(34).fill(2) },
    ],
  );
  for (let faults = 1 + below(3); faults > 0; faults--) {
    const at = below(bytes.length);
    const action = below(8);
    // Small numbers are what lengths and types are made of.
    const own = Buffer.from(action === 0 ? [] : [below(2) === 0 ? below(40) : below(256)]);
    bytes = Buffer.concat([bytes.subarray(0, at), own, bytes.subarray(action === 1 ? at : at + 1)]);
  }
  return bytes;
}

/**
 * What Python's reader refuses in a file that is right: it keeps the head of the file under such
 * names.
 */
const PYTHON_ODD = /Duplicate GGUF\./;

describe.skipIf(!python)(`GGUF against ggml's Python package${unlessNoPython}`, () => {
  const folder = temporaryFolder();

  it('accepts nothing that it refuses', async () => {
    const files = join(folder, 'verdicts');
    await mkdir(files);
    const cases = new Map<string, { title: string; bytes: Buffer; stricter?: boolean; odd?: boolean }>();
    ggufCorpus.forEach(({ name, bytes, stricter = false, pythonOdd = false }, i) => {
      cases.set(`hand-${i}`, { title: name, bytes, stricter, odd: pythonOdd });
    });
    for (let seed = 0; seed < 600; seed++) cases.set(`seed-${seed}`, { title: `seed ${seed}`, bytes: mutated(seed) });
    for (const [name, { bytes }] of cases) await writeFile(join(files, name), bytes);

    const lines = (await runPython('gguf_reader.py', 'verdicts', files)).trim().split('\n');
    const theirs = new Map(lines.map((line) => JSON.parse(line)).map(({ file, error }) => [file, error]));
    let [accepted, both] = [0, 0];
    for (const [name, { title, stricter, odd = false }] of cases) {
      const error = theirs.get(name) as string | null;
      const fault = await GgufFile.open(join(files, name)).then(
        (file) => file.close(),
        (cause) => cause as CheckpointError,
      );
      if (fault !== undefined) expect(fault, title).toBeInstanceOf(CheckpointError);
      if (stricter !== undefined) expect(error === null && fault !== undefined, title).toBe(stricter);
      if (fault === undefined) {
        accepted++;
        if (error !== null) expect(error, title).toMatch(PYTHON_ODD);
        expect(error !== null, title).toBe(odd);
      } else if (error !== null) both++;
    }
    expect(accepted).toBeGreaterThan(50);
    expect(both).toBeGreaterThan(100);
  });

  it('decodes all quantised types to the same bits', async () => {
    const file = join(folder, 'blocks.gguf');
    const weights = join(folder, 'random.safetensors');
    const real = noStories === '' ? join(stories, 'model.safetensors') : await someWeights(weights);
    await runPython('gguf_reader.py', 'make', file, real);
    const theirs = await contents(file);
    const checkpoint = await open(file);
    // Random blocks of each type, and real numbers in the types that Python can make.
    expect(checkpoint.tensors.size).toBe(23 + 8);
    for (const { name, dtype, shape } of checkpoint.tensors.values()) {
      const numbers = toFloat32(await checkpoint.read(name), dtype);
      expect(numbers.length).toBe(elements(shape));
      // Random blocks hold infinities and NaNs too; one NaN stands for all of them.
      const hash = sha256(numbers.map((x) => (Number.isNaN(x) ? Number.NaN : x)));
      expect({ type: dtype, shape, sha256: hash }, name).toEqual(withoutOffset(theirs.tensors[name]!));
    }
    await checkpoint.close();
  });

  it('makes the same Q8_0', async () => {
    const next = random(11);
    const numbers = Float32Array.from({ length: 32 * 4000 }, (_, i) => (next() - 0.5) * 10 ** (((i >> 5) % 12) - 8));
    const [given, made] = [join(folder, 'numbers'), join(folder, 'q8')];
    await writeFile(given, new Uint8Array(numbers.buffer));
    await runPython('gguf_reader.py', 'quantize', given, made);
    expect(Buffer.from(fromFloat32(numbers, 'Q8_0')).equals(await readFile(made))).toBe(true);
  });

  it('knows the matrices by the names that converters give them', async () => {
    const theirs = JSON.parse(await runPython('gguf_reader.py', 'names')) as Record<string, Record<string, string>>;
    const modelTypes: Record<string, string> = { gptneox: 'gpt_neox', phi2: 'phi' };
    expect(Object.keys(theirs).length).toBe(7);
    for (const [architecture, names] of Object.entries(theirs)) {
      const shapes = (list: readonly string[]) => Object.fromEntries(list.map((name) => [name, [24, 8]]));
      const hf = new Model(
        fakeCheckpoint(shapes(Object.keys(names)), { model_type: modelTypes[architecture] ?? architecture }),
      );
      const gguf = new Model(fakeCheckpoint(shapes(Object.values(names)), { 'general.architecture': architecture }));
      expect(gguf.family.name).toBe(hf.family.name);
      for (const [name, ggufName] of Object.entries(names)) {
        // The shapes are made up and all equal, so they tell nothing of how a weight is stored.
        const { orientation: _, ...role } = hf.roleOf(name)!;
        expect(gguf.roleOf(ggufName), name).toMatchObject(role);
      }
    }
  });

  describe.skipIf(noStories !== '')(`stories260K${noStories}`, () => {
    async function copy(edited: ReadonlyMap<string, StoredType>, bytes: ReadonlyMap<string, Uint8Array>) {
      const checkpoint = await open(join(stories, STORIES_GGUF));
      const files = await assembled(checkpoint, stories, edited, bytes);
      await checkpoint.close();
      const file = join(folder, `copy-${edited.size}.gguf`);
      await writeFile(file, files.get(STORIES_GGUF)!);
      return file;
    }

    it('is read alike', async () => {
      const theirs = await contents(join(stories, STORIES_GGUF));
      const checkpoint = await open(join(stories, STORIES_GGUF));
      const ours = new Map(
        await Promise.all(
          [...checkpoint.tensors.values()].map(async ({ name, dtype: type, shape, offset }) => {
            const hash = sha256(toFloat32(await checkpoint.read(name), type));
            return [name, { type, shape, offset, sha256: hash }] as const;
          }),
        ),
      );
      await checkpoint.close();
      expect(Object.fromEntries(ours)).toEqual(theirs.tensors);
      expect(checkpoint.config).toMatchObject({ model_type: 'llama', hidden_size: 64, num_key_value_heads: 4 });
    });

    it('is the same file without a change', async () => {
      expect(
        (await readFile(await copy(new Map(), new Map()))).equals(await readFile(join(stories, STORIES_GGUF))),
      ).toBe(true);
    });

    it('is read with the new numbers and all the old ones after one tensor became Q8_0', async () => {
      const name = 'blk.2.ffn_gate.weight';
      const checkpoint = await open(join(stories, STORIES_GGUF));
      const blocks = fromFloat32(toFloat32(await checkpoint.read(name), 'F32'), 'Q8_0');
      await checkpoint.close();
      const before = await contents(join(stories, STORIES_GGUF));
      const after = await contents(await copy(new Map([[name, 'Q8_0']]), new Map([[name, blocks]])));
      // The version of the quantisation is the one key that comes in, at the end.
      const own = (fields: Contents['fields']) => fields.filter(([key]) => key !== 'GGUF.kv_count');
      expect(own(after.fields)).toEqual([...own(before.fields), ['general.quantization_version', ['UINT32'], 2]]);
      expect(Object.keys(after.tensors)).toEqual(Object.keys(before.tensors));
      for (const [tensor, was] of Object.entries(before.tensors)) {
        const expected = tensor === name ? { ...was, type: 'Q8_0', sha256: sha256(toFloat32(blocks, 'Q8_0')) } : was;
        expect(after.tensors[tensor], tensor).toMatchObject(withoutOffset(expected));
      }
    });
  });
});

function withoutOffset({ type, shape, sha256: hash }: Contents['tensors'][string]) {
  return { type, shape, sha256: hash };
}

/** Weights in the place of real ones, where these are not at hand. */
async function someWeights(file: string): Promise<string> {
  const next = random(5);
  const { writeSafetensors } = await import('../../lib/checkpoint/safetensors/file.js');
  const numbers = Float32Array.from({ length: 256 * 256 }, () => next() - next());
  const bytes = new Uint8Array(numbers.buffer);
  await writeSafetensors(file, new Map([['w', { dtype: 'F32', shape: [256, 256], bytes }]]));
  return file;
}
