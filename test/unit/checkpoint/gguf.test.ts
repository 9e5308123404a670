import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../../lib/checkpoint/checkpoint.js';
import { GgufFile } from '../../../lib/checkpoint/gguf/file.js';
import { parseGgufHeader } from '../../../lib/checkpoint/gguf/header.js';
import { open } from '../../../lib/checkpoint/open.js';
import { latentHeads } from '../../../lib/model/sizes.js';
import type { StoredType } from '../../../lib/tensor/dtype.js';
import { failure, kind } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import {
  array,
  assembled,
  description,
  key,
  type MadeTensor,
  madeGguf,
  number,
  text,
  u32,
  u64,
  VALUE,
  validGguf,
  word,
} from '../../support/gguf.js';
import { ggufCorpus } from '../../support/gguf-corpus.js';
import { fill, made } from '../../support/safetensors.js';
import { SLOWNESS } from '../../support/time.js';

const folder = temporaryFolder();
let count = 0;
const path = () => join(folder, `${count++}`);

async function verdict(bytes: Uint8Array): Promise<string> {
  const file = path();
  await writeFile(file, bytes);
  const error = await GgufFile.open(file).then(
    (opened) => opened.close(),
    () => kind(GgufFile.open(file)),
  );
  return error ?? 'ok';
}

const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const ascending = (length: number, first = 0) => floats(...Array.from({ length }, (_, i) => first + i / 8));

const F32 = 0;
const llama = [
  word('general.architecture', 'llama'),
  number('llama.block_count', 2),
  number('llama.embedding_length', 64),
  number('llama.attention.head_count', 4),
  key('llama.attention.head_count_kv', VALUE.array, array(VALUE.i32, [u32(2), u32(2)])),
  key('llama.feed_forward_length', VALUE.array, array(VALUE.u32, [u32(96), u32(128)])),
  key('llama.context_length', VALUE.u64, u64(2048)),
  key('tokenizer.ggml.tokens', VALUE.array, array(VALUE.string, ['a', 'b', '€'].map(text))),
];
const weights: readonly MadeTensor[] = [
  { name: 'blk.0.attn_q.weight', shape: [2, 32], type: F32, bytes: ascending(64) },
  { name: 'blk.0.attn_norm.weight', shape: [3], type: F32, bytes: floats(1, 2, 3) },
  { name: 'blk.0.ffn_up_exps.weight', shape: [2, 1, 32], type: F32, bytes: ascending(64, 9) },
];

async function opened<T>(file: string, action: (checkpoint: Checkpoint) => Promise<T> | T): Promise<T> {
  const checkpoint = await open(file);
  try {
    return await action(checkpoint);
  } finally {
    await checkpoint.close();
  }
}

describe('a GGUF file', () => {
  it('opens as a checkpoint, with the shapes turned and its metadata as config', async () => {
    const file = join(folder, 'weights');
    const bytes = validGguf(llama, weights);
    await writeFile(file, bytes);
    await opened(file, async (checkpoint) => {
      expect(checkpoint).toMatchObject({ format: 'gguf', path: file });
      expect(checkpoint.config).toEqual({
        'general.architecture': 'llama',
        model_type: 'llama',
        num_hidden_layers: 2,
        hidden_size: 64,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 2048,
      });
      expect([...checkpoint.tensors.keys()]).toEqual(weights.map(({ name }) => name));
      for (const { name, shape, bytes: own } of weights) {
        const info = checkpoint.tensors.get(name)!;
        expect(info).toMatchObject({ dtype: 'F32', shape, bytes: own.length, file: 'weights' });
        expect(info.offset % 32).toBe(0);
        expect(bytes.subarray(info.offset, info.offset + info.bytes).equals(own)).toBe(true);
        expect(await checkpoint.read(name)).toEqual(own);
      }
      expect(await failure(checkpoint.read('blk'))).toMatchObject({ code: 'ERR_NOT_FOUND' });
    });
  });

  it('states the heads of attention through latent vectors as config.json does, in both forms', async () => {
    const common = [
      word('general.architecture', 'deepseek2'),
      number('deepseek2.attention.kv_lora_rank', 512),
      number('deepseek2.rope.dimension_count', 64),
    ];
    const older = [number('deepseek2.attention.key_length', 192), number('deepseek2.attention.value_length', 128)];
    const newer = [
      number('deepseek2.attention.key_length', 576),
      number('deepseek2.attention.value_length', 512),
      number('deepseek2.attention.key_length_mla', 192),
      number('deepseek2.attention.value_length_mla', 128),
    ];
    for (const [name, lengths] of Object.entries({ older, newer })) {
      const file = join(folder, `latent-${name}`);
      await writeFile(file, validGguf([...common, ...lengths], weights));
      await opened(file, async ({ config }) => {
        expect(config).toMatchObject({ head_dim: 192, v_head_dim: 128, qk_rope_head_dim: 64, kv_lora_rank: 512 });
        expect(latentHeads(config!)).toEqual({
          latent: { name: 'kv_lora_rank', value: 512 },
          key: 128,
          value: 128,
        });
      });
    }
  });

  it('gives the values of all types of metadata', async () => {
    const f64 = Buffer.alloc(8);
    f64.writeDoubleLE(-0.1);
    const file = path();
    const keys = [
      key('u8', VALUE.u8, Buffer.from([255])),
      key('i8', VALUE.i8, Buffer.from([255])),
      key('u16', VALUE.u16, Buffer.from([255, 255])),
      key('i16', VALUE.i16, Buffer.from([255, 255])),
      key('u32', VALUE.u32, Buffer.alloc(4, 255)),
      key('i32', VALUE.i32, Buffer.alloc(4, 255)),
      key('f32', VALUE.f32, floats(0.1)),
      key('bool', VALUE.bool, Buffer.from([1])),
      key('u64', VALUE.u64, Buffer.alloc(8, 255)),
      key('i64', VALUE.i64, Buffer.alloc(8, 255)),
      key('f64', VALUE.f64, f64),
      word('string', '€'),
      key('array', VALUE.array, array(VALUE.array, [array(VALUE.u16, []), array(VALUE.string, [text('x')])])),
    ];
    await writeFile(file, validGguf(keys, []));
    const read = await GgufFile.open(file);
    await read.close();
    const { metadata } = read.header;
    expect([...metadata.entries.keys()].map((name) => [name, metadata.value(name)])).toEqual([
      ['u8', 255],
      ['i8', -1],
      ['u16', 65535],
      ['i16', -1],
      ['u32', 4294967295],
      ['i32', -1],
      ['f32', Math.fround(0.1)],
      ['bool', true],
      ['u64', 2n ** 64n - 1n],
      ['i64', -1n],
      ['f64', -0.1],
      ['string', '€'],
      ['array', undefined],
    ]);
    expect(metadata.entries.get('array')).toMatchObject({ type: 'array', of: 'array', length: 2 });
    expect(metadata.wholeNumber('u64')).toBeUndefined();
    expect(metadata.wholeNumber('f32')).toBeUndefined();
    expect(metadata.wholeNumber('i64')).toBe(-1);
  });

  it.each(ggufCorpus.map((made) => [made.name, made] as const))('%s', async (_, { bytes, verdict: expected }) => {
    expect(await verdict(bytes)).toBe(expected);
  });

  it('is refused when cut at any byte', async () => {
    const whole = validGguf(llama, weights);
    const headerBytes = (await opened(await written(whole), ({ tensors }) => [...tensors.values()][0]!.offset)) - 32;
    const end = whole.length - ((32 - (weights.at(-1)!.bytes.length % 32)) % 32);
    for (let length = 0; length < end; length++) {
      const found = await verdict(whole.subarray(0, length));
      const allowed = length > headerBytes + 32 ? ['DataBeyondFile'] : ['Truncated', 'InvalidLength', 'DataBeyondFile'];
      expect(allowed, `${length} bytes`).toContain(found);
    }
    expect(await verdict(whole.subarray(0, end))).toBe('ok');
  });

  it('ends with a coded error, or rightly, whatever bytes are changed', async () => {
    const whole = validGguf([...llama, number('general.alignment', 32)], weights);
    const change = fc.record({ at: fc.nat(700), value: fc.nat(255), kind: fc.constantFrom('set', 'cut', 'insert') });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        let bytes: Buffer = whole;
        for (const { at, value, kind: action } of changes) {
          const rest = bytes.subarray(action === 'insert' ? at : at + 1);
          const own = action === 'cut' ? Buffer.alloc(0) : Buffer.from([value]);
          bytes = Buffer.concat([bytes.subarray(0, at), own, rest]);
        }
        const start = performance.now();
        const file = await written(bytes);
        try {
          await opened(file, async (checkpoint) => {
            for (const { name, bytes: length } of checkpoint.tensors.values()) {
              expect((await checkpoint.read(name)).length).toBe(length);
            }
          });
        } catch (error) {
          expect(error).toHaveProperty('code', expect.stringMatching(/^ERR_/));
        }
        expect(performance.now() - start).toBeLessThan(SLOWNESS * 1000);
      }),
      { numRuns: 500 },
    );
  });

  it('reads a header that is longer than the first piece, and refuses one beyond the limit', async () => {
    const words = Array.from({ length: 200_000 }, (_, i) => text(`word ${i}`));
    const keys = [...llama, key('words', VALUE.array, array(VALUE.string, words))];
    await opened(await written(validGguf(keys, weights)), async ({ read, tensors }) => {
      expect(tensors.size).toBe(3);
      expect(read).toBeDefined();
    });
    const file = await written(madeGguf({ keys: [key('k', VALUE.string, u64(200_000_000))] }));
    await truncate(file, 300_000_000);
    const start = performance.now();
    expect(await kind(open(file))).toBe('HeaderTooLarge');
    expect(performance.now() - start).toBeLessThan(SLOWNESS * 1000);
    await truncate(file, 0);
  });

  it('ends within a second on the largest headers, full of the smallest things', async () => {
    const strings = Buffer.concat([u32(VALUE.string), u64(12_000_000), Buffer.alloc(8 * 12_000_000)]);
    const empty = array(VALUE.u8, []);
    const arrays = Buffer.concat([u32(VALUE.array), u64(8_000_000), Buffer.alloc(12 * 8_000_000, empty)]);
    for (const value of [strings, arrays]) {
      const file = await written(
        madeGguf({
          keys: [key('k', VALUE.array, value)],
          tensors: [description('a', [9], F32, 0)],
          data: Buffer.alloc(32),
        }),
      );
      const start = process.cpuUsage();
      expect(await kind(open(file))).toBe('DataBeyondFile');
      const { user, system } = process.cpuUsage(start);
      // Processor time, because other tests may run beside this one.
      expect(user + system).toBeLessThan(SLOWNESS * 1_000_000);
      await truncate(file, 0);
    }
  });

  it('has its limits of tensors and keys', async () => {
    const tensors = Array.from({ length: 11 }, (_, i) => description(`${i}`, [0], F32, 0));
    const keys = Array.from({ length: 11 }, (_, i) => key(`${i}`, VALUE.u8, Buffer.from([0])));
    const parse = (bytes: Buffer) => parseGgufHeader(bytes, bytes.length, 'f', { tensors: 10, keys: 10 });
    expect(failure(() => parse(madeGguf({ tensors })))).toMatchObject({ kind: 'TooManyTensors' });
    expect(failure(() => parse(madeGguf({ keys })))).toMatchObject({ kind: 'TooManyKeys' });
    expect(parse(madeGguf({ tensors: tensors.slice(1), keys: keys.slice(1) })).tensors).toHaveLength(10);
    // By default they are 100,000: of the zeros behind the counts, each key has the same name.
    const zeros = Buffer.alloc(5_000_000);
    const counted = (tensorCount: number, keyCount: number) => {
      const header = Buffer.concat([Buffer.from('GGUF'), u32(3), u64(tensorCount), u64(keyCount), zeros]);
      return failure(() => parseGgufHeader(header, header.length, 'f'));
    };
    expect(counted(100_001, 0)).toMatchObject({ kind: 'TooManyTensors' });
    expect(counted(0, 100_001)).toMatchObject({ kind: 'TooManyKeys' });
    expect(counted(100_000, 100_000)).toMatchObject({ kind: 'DuplicateKey' });
  });

  it('names the fault, the file and the tensor, and escapes names', async () => {
    const file = await written(madeGguf({ tensors: [description('\u001b[2Ja', [33], 2, 0)], data: Buffer.alloc(64) }));
    const error = await failure(open(file));
    expect(error).toMatchObject({ code: 'ERR_CHECKPOINT_FORMAT', kind: 'InvalidBlock', file });
    expect(error.message).toContain('Q4_0');
    expect(error.message).not.toContain('\u001b');
  });

  it('notices that the file became shorter', async () => {
    const file = await written(validGguf(llama, weights));
    await opened(file, async (checkpoint) => {
      await truncate(file, 1000);
      expect(await kind(checkpoint.read('blk.0.ffn_up_exps.weight'))).toBe('FileShrank');
    });
  });

  it('reads a tensor beyond 4 GiB', async () => {
    const far = 2 ** 30 + 8;
    const head = madeGguf({ tensors: [description('a', [far], F32, 0), description('b', [2], F32, 4 * far)] });
    const start = Math.ceil(head.length / 32) * 32;
    const file = await written(head);
    await truncate(file, start + 4 * far);
    await writeFile(file, floats(1.5, 2.5), { flag: 'a' });
    await opened(file, async (checkpoint) => expect(await checkpoint.read('b')).toEqual(floats(1.5, 2.5)));
    await truncate(file, 0);
  });
});

async function written(bytes: Uint8Array): Promise<string> {
  const file = path();
  await writeFile(file, bytes);
  return file;
}

describe('a folder', () => {
  it('with one GGUF file is that file', async () => {
    const own = temporaryFolder();
    await fill(own, { 'model-f32.gguf': validGguf(llama, weights), 'README.md': '' });
    await opened(own, (checkpoint) => {
      expect(checkpoint).toMatchObject({ format: 'gguf', path: own });
      expect(checkpoint.tensors.get('blk.0.attn_q.weight')).toMatchObject({ file: 'model-f32.gguf' });
    });
  });

  it('with safetensors beside GGUF is the safetensors', async () => {
    const own = temporaryFolder();
    const safetensors = made({ a: { dtype: 'U8', shape: [1], data_offsets: [0, 1] } }, 'x');
    await fill(own, { 'a.gguf': validGguf(llama, weights), 'a.safetensors': safetensors });
    await opened(own, (checkpoint) => expect(checkpoint.format).toBe('safetensors'));
  });

  it('with several GGUF models is not guessed at', async () => {
    const own = temporaryFolder();
    const bytes = validGguf(llama, weights);
    await fill(own, { 'a-00001-of-00002.gguf': bytes, 'a-00002-of-00002.gguf': bytes, 'b.gguf': bytes });
    const error = await failure(open(own));
    expect(error).toMatchObject({ kind: 'AmbiguousWeights' });
    expect(error.message).toContain('"a-00001-of-00002.gguf", "b.gguf"');
  });

  it('with GGUF under the name of safetensors is read by its content', async () => {
    const own = temporaryFolder();
    await fill(own, { 'model.safetensors': validGguf(llama, weights) });
    await opened(own, (checkpoint) => expect(checkpoint.format).toBe('gguf'));
  });
});

const SPLIT = ['m-00001-of-00003.gguf', 'm-00002-of-00003.gguf', 'm-00003-of-00003.gguf'];

const splitKeys = (no: number, total = 3, count = 3) => [
  key('split.no', VALUE.u16, Buffer.from([no, 0])),
  key('split.count', VALUE.u16, Buffer.from([count, 0])),
  key('split.tensors.count', VALUE.i32, u32(total)),
];

/** The first file has no tensors, as llama-gguf-split makes it on request. */
async function split(changes: Record<string, Uint8Array> = {}): Promise<string> {
  const own = temporaryFolder();
  await fill(own, {
    [SPLIT[0]!]: validGguf([...llama, ...splitKeys(0)], []),
    [SPLIT[1]!]: validGguf(splitKeys(1), weights.slice(0, 2)),
    [SPLIT[2]!]: validGguf(splitKeys(2), weights.slice(2)),
    ...changes,
  });
  return own;
}

describe('a split model', () => {
  it('opens by its folder and by any of its files', async () => {
    const own = await split();
    for (const file of [own, ...SPLIT.map((name) => join(own, name))]) {
      await opened(file, async (checkpoint) => {
        expect(checkpoint).toMatchObject({ format: 'gguf', path: own, main: join(own, SPLIT[0]!) });
        expect(checkpoint.config).toMatchObject({ model_type: 'llama' });
        expect([...checkpoint.tensors.values()].map(({ file: name }) => name)).toEqual([SPLIT[1], SPLIT[1], SPLIT[2]]);
        for (const { name, bytes } of weights) expect(await checkpoint.read(name)).toEqual(bytes);
      });
    }
  });

  it('keeps its files in the layout of a copy', async () => {
    await opened(await split(), async (checkpoint) => {
      const same = checkpoint.layout(new Map([['blk.0.attn_q.weight', { as: 'F32' }]]));
      expect(same.map(({ file, parts }) => [file, parts])).toEqual(SPLIT.map((name) => [name, undefined]));
      const edited = checkpoint.layout(new Map([['blk.0.attn_q.weight', { as: 'F16' }]]));
      expect(edited.map(({ file, parts }) => [file, parts === undefined])).toEqual([
        [SPLIT[0], true],
        [SPLIT[1], false],
        [SPLIT[2], true],
      ]);
      // The format wants the version of the quantisation among the model's metadata, which are in
      // the first file.
      const quantised = checkpoint.layout(new Map([['blk.0.attn_q.weight', { as: 'Q8_0' }]]));
      expect(quantised.map(({ parts }) => parts === undefined)).toEqual([false, false, true]);
    });
  });

  it('is refused when its files do not belong together', async () => {
    const of = async (changes: Record<string, Uint8Array>) => kind(open(await split(changes)));
    expect(await of({ [SPLIT[1]!]: validGguf(splitKeys(2), weights.slice(0, 2)) })).toBe('InvalidSplit');
    expect(await of({ [SPLIT[1]!]: validGguf(splitKeys(1, 3, 4), weights.slice(0, 2)) })).toBe('InvalidSplit');
    expect(await of({ [SPLIT[1]!]: validGguf(splitKeys(1, 5), weights.slice(0, 2)) })).toBe('InvalidSplit');
    expect(await of({ [SPLIT[1]!]: validGguf([], weights.slice(0, 2)) })).toBe('InvalidSplit');
    expect(await of({ [SPLIT[1]!]: validGguf(splitKeys(1), weights.slice(0, 1)) })).toBe('InvalidSplit');
    expect(await of({ [SPLIT[1]!]: validGguf(splitKeys(1), weights.slice(1)) })).toBe('TensorInTwoShards');
    expect(await of({ [SPLIT[1]!]: Buffer.from('version https://git-lfs.github.com/spec/v1\n') })).toBe(
      'GitLfsPointer',
    );
  });

  it('is refused when files are missing, or named otherwise', async () => {
    const own = temporaryFolder();
    await fill(own, { [SPLIT[0]!]: validGguf([...llama, ...splitKeys(0)], []) });
    expect(await failure(open(own))).toMatchObject({ kind: 'MissingShard', file: join(own, SPLIT[1]!) });
    await fill(own, { 'other.gguf': validGguf([...llama, ...splitKeys(0)], []) });
    expect(await kind(open(join(own, 'other.gguf')))).toBe('InvalidSplit');
  });
});

describe('the layout of a copy', () => {
  const keys = [...llama, number('general.file_type', 0), key('unknown.key', VALUE.f64, Buffer.alloc(8, 7))];
  const edit = async (
    source: Buffer,
    edited: ReadonlyMap<string, StoredType>,
    bytes: ReadonlyMap<string, Uint8Array>,
  ) => {
    const own = temporaryFolder();
    await fill(own, { 'm.gguf': source });
    const copy = await opened(own, (checkpoint) => assembled(checkpoint, own, edited, bytes));
    return copy.get('m.gguf')!;
  };

  it('is the source when types stay', async () => {
    const source = validGguf(keys, weights);
    const name = 'blk.0.attn_q.weight';
    const bytes = ascending(64, -3);
    const copy = await edit(source, new Map([[name, 'F32']]), new Map([[name, bytes]]));
    expect(copy.equals(validGguf(keys, [{ ...weights[0]!, bytes }, ...weights.slice(1)]))).toBe(true);
  });

  it('is the file that would have been made with the new types', async () => {
    const half = { ...weights[0]!, type: 1, bytes: new Uint8Array(128).fill(3) };
    const blocks = { ...weights[2]!, type: 8, bytes: new Uint8Array(68).fill(5) };
    const edited = new Map<string, StoredType>([
      [half.name, 'F16'],
      [blocks.name, 'Q8_0'],
    ]);
    const bytes = new Map([half, blocks].map((tensor) => [tensor.name, tensor.bytes]));
    const version = number('general.quantization_version', 2);
    for (const alignment of [8, 32, 256]) {
      const own = [...keys, number('general.alignment', alignment)];
      const copy = await edit(validGguf(own, weights, alignment), edited, bytes);
      expect(copy.equals(validGguf([...own, version], [half, weights[1]!, blocks], alignment))).toBe(true);
    }
  });

  it('adds no key if there is one, or if nothing becomes quantised', async () => {
    const own = [...keys, number('general.quantization_version', 1)];
    const blocks = { ...weights[0]!, type: 8, bytes: new Uint8Array(68).fill(5) };
    const bytes = new Map([[blocks.name, blocks.bytes]]);
    const quantised = await edit(validGguf(own, weights), new Map([[blocks.name, 'Q8_0']]), bytes);
    expect(quantised.equals(validGguf(own, [blocks, ...weights.slice(1)]))).toBe(true);
    const brain = { ...weights[0]!, type: 30, bytes: new Uint8Array(128).fill(5) };
    const rewritten = await edit(
      validGguf(keys, weights),
      new Map([[brain.name, 'BF16']]),
      new Map([[brain.name, brain.bytes]]),
    );
    expect(rewritten.equals(validGguf(keys, [brain, ...weights.slice(1)]))).toBe(true);
  });

  it('keeps the bytes after the last tensor, whether less than its padding or more', async () => {
    const [first] = weights;
    const bytes = new Map([[first!.name, new Uint8Array(128).fill(3)]]);
    const edited = new Map<string, StoredType>([[first!.name, 'F16']]);
    const half = { ...first!, type: 1, bytes: bytes.get(first!.name)! };
    const more = Buffer.from('somebody put this here');
    const copy = await edit(Buffer.concat([validGguf(keys, weights.slice(0, 2)), more]), edited, bytes);
    expect(copy.equals(Buffer.concat([validGguf(keys, [half, weights[1]!]), more]))).toBe(true);
    // Three numbers of four bytes, cut before their padding of 20.
    const cut = await edit(validGguf(keys, weights.slice(0, 2)).subarray(0, -20), edited, bytes);
    expect(cut.equals(validGguf(keys, [half, weights[1]!]).subarray(0, -20))).toBe(true);
  });

  it('leaves types alone that are not decoded', async () => {
    const opaque = { name: 'x', shape: [2, 256], type: 16, bytes: new Uint8Array(132).fill(9) };
    const half = { ...weights[0]!, type: 1, bytes: new Uint8Array(128) };
    const bytes = new Map([[half.name, half.bytes]]);
    const copy = await edit(validGguf(keys, [weights[0]!, opaque]), new Map([[half.name, 'F16']]), bytes);
    expect(copy.equals(validGguf(keys, [half, opaque]))).toBe(true);
  });

  it('refuses names and types that cannot be', async () => {
    await opened(await written(validGguf(keys, weights)), async (checkpoint) => {
      const layout = (name: string, type: StoredType) =>
        failure((async () => checkpoint.layout(new Map([[name, { as: type }]])))());
      expect(await layout('no', 'F32')).toMatchObject({ code: 'ERR_NOT_FOUND' });
      expect(await layout('blk.0.attn_q.weight', 'Q4_K')).toMatchObject({ code: 'ERR_UNSUPPORTED' });
      expect(await layout('blk.0.attn_q.weight', 'I8')).toMatchObject({ code: 'ERR_UNSUPPORTED' });
      const rows = await layout('blk.0.attn_norm.weight', 'Q8_0');
      expect(rows).toMatchObject({ code: 'ERR_UNSUPPORTED', hint: expect.stringContaining('F16') });
    });
  });

  it('refuses factors in place of a matrix, with its name and a hint', async () => {
    await opened(await written(validGguf(keys, weights)), async (checkpoint) => {
      const name = 'blk.0.attn_q.weight';
      const by = ['a', 'b'].map((factor) => ({ name: `${name}.${factor}`, dtype: 'F32' as const, shape: [2, 2] }));
      expect(await failure((async () => checkpoint.layout(new Map([[name, { by }]])))())).toMatchObject({
        code: 'ERR_UNSUPPORTED',
        message: expect.stringMatching(/^blk\.0\.attn_q\.weight: cannot be replaced by 2 tensors: llama\.cpp/),
        hint: expect.stringContaining('Write the product of the factors'),
      });
    });
  });
});
