import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type NewTensor, SafetensorsFile, writeSafetensors } from '../../../lib/checkpoint/safetensors/file.js';
import { parseHeader } from '../../../lib/checkpoint/safetensors/header.js';
import { DTYPE_BITS, type DType } from '../../../lib/tensor/dtype.js';
import { failure, kind } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { made } from '../../support/safetensors.js';
import { corpus } from '../../support/safetensors-corpus.js';

const folder = temporaryFolder();
let count = 0;
const path = () => join(folder, `${count++}.safetensors`);

async function verdict(bytes: Uint8Array): Promise<string> {
  const file = path();
  await writeFile(file, bytes);
  try {
    await (await SafetensorsFile.open(file)).close();
    return 'ok';
  } catch {
    return kind(SafetensorsFile.open(file));
  }
}

const dtypes = Object.keys(DTYPE_BITS) as DType[];
const tensors: fc.Arbitrary<Map<string, NewTensor>> = fc
  .uniqueArray(
    fc.record({
      name: fc.string({ unit: 'grapheme', maxLength: 12 }).filter((name) => name !== '__metadata__'),
      dtype: fc.constantFrom(...dtypes),
      shape: fc.array(fc.nat(5), { maxLength: 4 }),
      seed: fc.nat(255),
    }),
    { maxLength: 12, selector: ({ name }) => name },
  )
  .map((list) => {
    const made = new Map<string, NewTensor>();
    for (const { name, dtype, shape, seed } of list) {
      const bits = shape.reduce((product, dimension) => product * dimension, DTYPE_BITS[dtype]);
      if (bits % 8 !== 0) continue;
      made.set(name, { dtype, shape, bytes: Uint8Array.from({ length: bits / 8 }, (_, i) => seed + 7 * i) });
    }
    return made;
  });
const metadata = fc.option(
  fc
    .dictionary(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'grapheme' }))
    .map((object) => new Map(Object.entries(object))),
  { nil: undefined },
);

describe('a safetensors file', () => {
  it('reads back what was written', async () => {
    await fc.assert(
      fc.asyncProperty(tensors, metadata, async (written, about) => {
        const file = path();
        await writeSafetensors(file, written, about);
        const read = await SafetensorsFile.open(file);
        expect(read.header.metadata).toEqual(about);
        expect(read.header.dataStart % 8).toBe(0);
        expect(read.header.tensors.length).toBe(written.size);
        for (const span of read.header.tensors) {
          const { dtype, shape, bytes } = written.get(span.name)!;
          expect({ dtype: span.dtype, shape: span.shape }).toEqual({ dtype, shape });
          expect(await read.read(span)).toEqual(bytes);
          // Aligned to whole elements; those smaller than a byte lie behind all others.
          if (DTYPE_BITS[dtype] >= 8) expect((read.offset(span) * 8) % DTYPE_BITS[dtype]).toBe(0);
        }
        await read.close();
      }),
      { numRuns: 100 },
    );
  });

  it.each(corpus.map((made) => [made.name, made] as const))('%s', async (_, { bytes, verdict: expected }) => {
    expect(await verdict(bytes)).toBe(expected);
  });

  it('is refused when cut at any byte', async () => {
    const file = path();
    const bytes = Uint8Array.of(1, 2, 3, 4);
    await writeSafetensors(file, new Map([['wεight', { dtype: 'F16', shape: [2, 1], bytes }]]), new Map([['k', 'v']]));
    const whole = await readFile(file);
    const header = whole.length - bytes.length;
    for (let length = 0; length < whole.length; length++) {
      const expected =
        length < 8 ? 'HeaderTooSmall' : length < header ? 'InvalidHeaderLength' : 'MetadataIncompleteBuffer';
      expect(await verdict(whole.subarray(0, length))).toBe(expected);
    }
    // With a length that fits: only spaces behind the closing brace can be missing, and then data
    // seem to be left over.
    for (let length = 8; length < header; length++) {
      const cut = made(whole.subarray(8, length), bytes);
      const complete = whole.subarray(8, length).toString('latin1').trimEnd().endsWith('}}');
      expect(['InvalidHeaderDeserialization', 'InvalidHeader', complete ? 'ok' : '']).toContain(await verdict(cut));
    }
  });

  it('names the fault, the file and the tensor, with a hint', async () => {
    const file = path();
    await writeFile(file, made('{"some.weight":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}', 'abc'));
    const error = await failure(SafetensorsFile.open(file));
    expect(error.code).toBe('ERR_CHECKPOINT_FORMAT');
    expect(error.message).toBe(`${file}: "some.weight" lies at bytes 1 to 3 of the data, expected a start at 0`);
    expect(error.hint).toMatch(/without gap/);
  });

  it('keeps long names and control characters out of messages', async () => {
    const name = `\\u001b[2J${'x'.repeat(100_000)}`;
    const file = path();
    await writeFile(file, made(`{"${name}":{"dtype":"U9","shape":[2],"data_offsets":[1,3]}}`));
    const { message } = await failure(SafetensorsFile.open(file));
    expect(message.length).toBeLessThan(400);
    expect(message).not.toContain('\u001b');
  });

  it('reads a tensor beyond 4 GiB', async () => {
    const file = path();
    const far = 5 * 2 ** 30;
    const head = made({
      a: { dtype: 'U8', shape: [far], data_offsets: [0, far] },
      b: { dtype: 'U8', shape: [3], data_offsets: [far, far + 3] },
    });
    await writeFile(file, head);
    await truncate(file, head.length + far);
    await writeFile(file, 'xyz', { flag: 'a' });
    const read = await SafetensorsFile.open(file);
    expect(Buffer.from(await read.read(read.header.tensors[1]!)).toString()).toBe('xyz');
    await read.close();
    await truncate(file, 0);
  });

  it('notices that the file became shorter', async () => {
    const file = path();
    await writeFile(file, made('{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}', 'ab'));
    const read = await SafetensorsFile.open(file);
    await truncate(file, 62);
    const error = await failure(read.read(read.header.tensors[0]!));
    expect(error).toMatchObject({ code: 'ERR_CHECKPOINT_IO', kind: 'FileShrank', file });
    await read.close();
    expect(await kind(read.read(read.header.tensors[0]!))).toBe('IoError');
  });

  it('has its limit of tensors', () => {
    const one = (i: number) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`;
    const header = (tensors: number) => Buffer.from(`{${Array.from({ length: tensors }, (_, i) => one(i)).join()}}`);
    const parse = (bytes: Buffer) => parseHeader(bytes, 8 + bytes.length, 'f', 10);
    expect(parse(header(10)).tensors).toHaveLength(10);
    // What the limit is by default, large/limits.test.ts tries.
    expect(() => parse(header(11))).toThrow(
      expect.objectContaining({ kind: 'TooManyTensors', code: 'ERR_CHECKPOINT_FORMAT' }),
    );
  });

  it('keeps only the names of a header in memory', () => {
    const name = 'a'.repeat(1000);
    const header = Buffer.from(`{"${name}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}${' '.repeat(90_000_000)}`);
    const { tensors } = parseHeader(header, 8 + header.length, 'f');
    expect(tensors).toEqual([{ name, dtype: 'U8', shape: [0], begin: 0, end: 0 }]);
  });
});

describe('writeSafetensors', () => {
  const one: NewTensor = { dtype: 'U8', shape: [2], bytes: Uint8Array.of(1, 2) };

  it('orders by size of the elements, then by the bytes of the name', async () => {
    const order = ['BOOL', 'F4', 'F6_E2M3', 'F6_E3M2', 'U8', 'I8', 'F8_E5M2', 'F8_E4M3', 'F8_E8M0', 'F8_E4M3FNUZ'];
    order.push('F8_E5M2FNUZ', 'I16', 'U16', 'F16', 'BF16', 'I32', 'U32', 'F32', 'C64', 'F64', 'I64', 'U64');
    const tensors = new Map<string, NewTensor>();
    for (const dtype of order as DType[]) {
      // In UTF-16 the emoji would come before U+FFFD, in UTF-8 it comes behind.
      for (const name of ['😀', '\ufffd', 'b', 'B']) {
        tensors.set(`${name}${dtype}`, { dtype, shape: [4], bytes: new Uint8Array(DTYPE_BITS[dtype] / 2) });
      }
    }
    const file = path();
    await writeSafetensors(file, tensors);
    const read = await SafetensorsFile.open(file);
    await read.close();
    const expected = order.reverse().flatMap((dtype) => ['B', 'b', '\ufffd', '😀'].map((name) => name + dtype));
    expect(read.header.tensors.map(({ name }) => name)).toEqual(expected);
  });

  it('replaces nothing unless allowed, and leaves nothing behind', async () => {
    const own = temporaryFolder();
    const file = join(own, 'a.safetensors');
    await writeFile(file, 'mine');
    expect(await failure(writeSafetensors(file, new Map([['a', one]])))).toMatchObject({ code: 'ERR_OUTPUT' });
    expect(await readFile(file, 'utf8')).toBe('mine');
    await writeSafetensors(file, new Map([['a', one]]), undefined, { replace: true });
    expect(await verdict(await readFile(file))).toBe('ok');
    expect(await readdir(own)).toEqual(['a.safetensors']);
    expect(await kind(writeSafetensors(join(own, 'no', 'a.safetensors'), new Map([['a', one]])))).toBe('NotFound');
  });

  it('refuses what the format cannot store, before it writes', async () => {
    const own = temporaryFolder();
    const file = join(own, 'a.safetensors');
    const write = (name: string, tensor: object) =>
      kind(writeSafetensors(file, new Map([[name, { ...one, ...tensor }]])));
    expect(await write('__metadata__', {})).toBe('ERR_ARGUMENT');
    expect(await write('\ud800', {})).toBe('ERR_ARGUMENT');
    expect(await write('a', { dtype: 'U4' })).toBe('ERR_ARGUMENT');
    expect(await write('a', { dtype: 'toString' })).toBe('ERR_ARGUMENT');
    expect(await write('a', { bytes: [1, 2] })).toBe('ERR_ARGUMENT');
    expect(await write('a', { shape: [3] })).toBe('ERR_SHAPE');
    expect(await write('a', { shape: [-2] })).toBe('ERR_SHAPE');
    expect(await write('a', { shape: [2 ** 53, 2 ** 53] })).toBe('ERR_SHAPE');
    expect(await write('a', { dtype: 'F4', shape: [3] })).toBe('ERR_SHAPE');
    expect(await kind(writeSafetensors(file, new Map(), new Map([['k', 1 as unknown as string]])))).toBe(
      'ERR_ARGUMENT',
    );
    const tooLong = new Map([['k', 'x'.repeat(100_000_000)]]);
    expect(await kind(writeSafetensors(file, new Map(), tooLong))).toBe('HeaderTooLarge');
    expect(await readdir(own)).toEqual([]);
  });
});
