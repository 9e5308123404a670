import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { withCopy } from '../../lib/checkpoint/copy/with-copy.js';
import { open } from '../../lib/checkpoint/open.js';
import { type NewTensor, SafetensorsFile, writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import { CheckpointError } from '../../lib/errors.js';
import { DTYPE_BITS, type DType } from '../../lib/tensor/dtype.js';
import { temporaryFolder } from '../support/folder.js';
import { random } from '../support/random.js';
import { made } from '../support/safetensors.js';
import { corpus } from '../support/safetensors-corpus.js';
import { python, runPython, unlessNoPython } from './python.js';

/** The kind of fault by the reference reader's messages. */
const KINDS: [kind: string, message: RegExp][] = [
  ['HeaderTooSmall', /header too small/],
  ['HeaderTooLarge', /header too large/],
  ['InvalidHeaderLength', /invalid header length/],
  ['InvalidHeader', /invalid UTF-8 in header/],
  ['InvalidHeaderDeserialization', /invalid JSON in header/],
  ['InvalidOffset', /invalid offset for tensor/],
  ['TensorInvalidInfo', /invalid shape, data type, or offset/],
  ['ValidationOverflow', /overflow computing buffer size/],
  ['MisalignedSlice', /does not end up at a byte boundary/],
  ['MetadataIncompleteBuffer', /file not fully covered/],
];

/**
 * What this reader refuses and the reference accepts: kind, and what its message says. See
 * lib/checkpoint/safetensors/header.ts.
 */
const STRICTER: [kind: string, message: RegExp][] = [
  ['InvalidHeaderStart', /white space comes first/],
  ['InvalidHeaderDeserialization', /duplicate /],
  ['InvalidHeaderDeserialization', /expected an object/],
  ['InvalidHeaderDeserialization', /expected a string/],
  ['InvalidHeaderDeserialization', /a number too large/],
  ['InvalidHeaderDeserialization', /nested objects and arrays/],
  ['TooManyDimensions', /more than 64 dimensions/],
  ['ValidationOverflow', /a dimension beyond 2\^53 - 1/],
];

const HEADER =
  '{"__metadata__":{"format":"pt","a":"b"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},' +
  '"é\\n":{"dtype":"F16","shape":[2],"data_offsets":[8,12]},"e":{"dtype":"I64","shape":[0,3],"data_offsets":[12,12]},' +
  '"s":{"dtype":"F4","shape":[4],"data_offsets":[12,14],"more":[null,true,{"x":-1.5e3}]}}   ';
const DATA = 'abcdefghijklmn';
const PIECES = [
  ...'{}[]",:\\ 0123456789-+.eEx\n\0',
  '"w"',
  '"dtype"',
  '"shape"',
  '"data_offsets"',
  '"__metadata__"',
  'null',
  '1e2',
  '1.0',
  '-0',
  '18446744073709551616',
  '9007199254740993',
  '\\ud800',
  '\\u0000',
  'F8_E4M3',
  'BOOL',
  '[12,12]',
  ',"w":{"dtype":"U8","shape":[],"data_offsets":[0,1]}',
];

/**
 * A valid file with one or two faults: bytes overwritten, text put in, cut out or doubled, numbers
 * changed.
 */
function mutated(seed: number): Buffer {
  const next = random(seed);
  const below = (n: number) => Math.floor(next() * n);
  let header = Buffer.from(HEADER);
  for (let faults = 1 + below(2); faults > 0; faults--) {
    const at = below(header.length);
    const before = header.subarray(0, at);
    const rest = (skip: number) => header.subarray(at + skip);
    const piece = Buffer.from(PIECES[below(PIECES.length)]!);
    const action = below(10);
    if (action === 0) header = Buffer.concat([before, Buffer.from([below(256)]), rest(1)]);
    else if (action === 1) header = Buffer.concat([before, piece, rest(0)]);
    else if (action === 2) header = Buffer.concat([before, piece, rest(piece.length)]);
    else if (action === 3) header = Buffer.concat([before, rest(1 + below(8))]);
    else if (action === 4) header = Buffer.concat([before, header.subarray(at, at + below(60)), rest(0)]);
    else {
      // A number near the old one: only such files come past the JSON and reach the checks of sizes
      // and offsets.
      const numbers = [...header.toString('latin1').matchAll(/\d+/g)];
      const chosen = numbers[below(numbers.length)];
      if (chosen === undefined) continue;
      const value = Buffer.from(String(Math.max(0, Number(chosen[0]) + below(5) - 2)));
      header = Buffer.concat([
        header.subarray(0, chosen.index),
        value,
        header.subarray(chosen.index + chosen[0].length),
      ]);
    }
  }
  const file = made(header, DATA);
  // Some with a wrong length, some cut.
  const last = below(10);
  if (last === 0) file.writeUInt8((file[0]! + below(9) - 4) & 0xff, 0);
  return last === 1 ? file.subarray(0, below(file.length)) : file;
}

describe.skipIf(!python)(`safetensors against the reference implementation${unlessNoPython}`, () => {
  const folder = temporaryFolder();

  async function ask(command: string, path: string): Promise<Map<string, Record<string, unknown>>> {
    const lines = (await runPython('safetensors_verdicts.py', command, path)).trim().split('\n');
    return new Map(lines.map((line) => JSON.parse(line)).map((answer) => [answer.file, answer]));
  }

  it('accepts nothing that it refuses, and refuses only what the stricter rules name', async () => {
    const files = join(folder, 'verdicts');
    await mkdir(files);
    const cases = new Map<string, { title: string; bytes: Buffer; stricter?: boolean }>();
    corpus.forEach(({ name, bytes, stricter = false }, i) => {
      cases.set(`hand-${i}`, { title: name, bytes, stricter });
    });
    for (let seed = 0; seed < 1500; seed++) cases.set(`seed-${seed}`, { title: `seed ${seed}`, bytes: mutated(seed) });
    for (const [name, { bytes }] of cases) await writeFile(join(files, name), bytes);

    const theirs = await ask('verdicts', files);
    const tally: Record<string, number> = {};
    for (const [name, { title, stricter }] of cases) {
      const errors = theirs.get(name)!.errors as string[];
      const allowed = errors.map((message) => KINDS.find(([, pattern]) => pattern.test(message))?.[0] ?? message);
      const fault = await SafetensorsFile.open(join(files, name)).then(
        (file) => file.close(),
        (error) => error as CheckpointError,
      );
      const verdict = fault === undefined ? 'ok' : fault.kind;
      tally[verdict] = (tally[verdict] ?? 0) + 1;
      if (fault !== undefined) expect(fault, title).toBeInstanceOf(CheckpointError);
      if (stricter !== undefined) expect(errors.length === 0 && fault !== undefined, title).toBe(stricter);
      if (fault === undefined) {
        expect(errors, title).toEqual([]);
        continue;
      }
      const rule = STRICTER.find(([kind, message]) => kind === fault.kind && message.test(fault.message));
      // A stricter rule may also be the first to speak where the reference finds another fault
      // later.
      if (rule === undefined) expect(allowed, `${title}: ${fault.message}`).toContain(fault.kind);
    }
    // The generator must reach every check that a change of a header can reach.
    for (const [kind] of KINDS.filter(([kind]) => kind !== 'HeaderTooLarge')) {
      expect(tally[kind], kind).toBeGreaterThan(3);
    }
    expect(tally.ok).toBeGreaterThan(50);
  });

  it('writes files that Python loads, with the same values', async () => {
    const files = join(folder, 'contents');
    await mkdir(files);
    const next = random(7);
    const written = new Map<string, { tensors: Map<string, NewTensor>; metadata?: Map<string, string> }>();
    const all = Object.entries(DTYPE_BITS).map(([dtype, bits], i): [string, NewTensor] => {
      const shape = i % 3 === 0 ? [4] : i % 3 === 1 ? [2, 0, 3] : [2, 4];
      const bytes = new Uint8Array((shape.reduce((a, b) => a * b, 1) * bits) / 8);
      // Python's bool may hold 0 and 1 only.
      return [
        `${i}.${dtype}`,
        { dtype: dtype as DType, shape, bytes: bytes.map(() => next() * (dtype === 'BOOL' ? 2 : 256)) },
      ];
    });
    written.set('all', {
      tensors: new Map(all),
      metadata: new Map([
        ['format', 'pt'],
        ['ключ "\\\n', '😀'],
      ]),
    });
    const floats = Float32Array.from({ length: 6 }, () => next() - 0.5);
    const values: [string, NewTensor][] = [
      ['matrix', { dtype: 'F32', shape: [2, 3], bytes: new Uint8Array(floats.buffer) }],
      ['scalar', { dtype: 'F32', shape: [], bytes: new Uint8Array(Float32Array.of(-0.25).buffer) }],
      ['empty', { dtype: 'F32', shape: [0, 4], bytes: new Uint8Array(0) }],
      ['__proto__', { dtype: 'F32', shape: [1], bytes: new Uint8Array(Float32Array.of(3).buffer) }],
    ];
    written.set('values', { tensors: new Map(values) });
    written.set('nothing', { tensors: new Map() });
    for (const [name, { tensors, metadata }] of written) await writeSafetensors(join(files, name), tensors, metadata);

    const theirs = await ask('contents', files);
    for (const [name, { tensors, metadata }] of written) {
      const answer = theirs.get(name) as {
        metadata: Record<string, string> | null;
        tensors: Record<string, { dtype: string; shape: number[]; hex: string; values?: number[] }>;
      };
      expect(answer.metadata).toEqual(metadata ? Object.fromEntries(metadata) : null);
      expect(Object.keys(answer.tensors).sort()).toEqual([...tensors.keys()].sort());
      for (const [tensor, { dtype, shape, bytes }] of tensors) {
        const { values: _, ...rest } = Object.getOwnPropertyDescriptor(answer.tensors, tensor)!.value;
        expect(rest).toEqual({ dtype, shape, hex: Buffer.from(bytes).toString('hex') });
      }
    }
    const read = theirs.get('values')!.tensors as Record<string, { values: number[] }>;
    expect(read.matrix!.values).toEqual([...floats]);
    expect(read.scalar!.values).toEqual([-0.25]);
    expect(read.empty!.values).toEqual([]);
  });

  it('replaces tensors so that Python loads the new ones and the others', async () => {
    const files = join(folder, 'replaced');
    await mkdir(files);
    const source = join(folder, 'replaced-from.safetensors');
    const bytes = (length: number, value: number) => new Uint8Array(length).fill(value);
    const kept: [string, NewTensor] = ['kept', { dtype: 'F32', shape: [3], bytes: bytes(12, 3) }];
    const factors: [string, NewTensor][] = [
      ['w.a', { dtype: 'F16', shape: [3, 1], bytes: bytes(6, 4) }],
      ['w.b', { dtype: 'I64', shape: [1, 5], bytes: bytes(40, 5) }],
    ];
    const matrix: [string, NewTensor] = ['w', { dtype: 'F32', shape: [3, 5], bytes: bytes(60, 9) }];
    await writeSafetensors(source, new Map([kept, matrix]), new Map([['format', 'pt']]));
    const checkpoint = await open(source);
    const by = factors.map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
    const options = { changes: new Map([['w', { by }]]) };
    await withCopy(checkpoint, join(files, 'out'), options, async (copy) => {
      for (const [name, tensor] of factors) await copy.write(name, tensor.bytes);
    });
    await checkpoint.close();
    const { metadata, tensors } = (await ask('contents', files)).get('out') as {
      metadata: unknown;
      tensors: Record<string, { dtype: string; shape: number[]; hex: string }>;
    };
    expect(metadata).toEqual({ format: 'pt' });
    const found = Object.entries(tensors).map(([name, { dtype, shape, hex }]) => [name, { dtype, shape, hex }]);
    const expected = [kept, ...factors].map(([name, { bytes, ...rest }]) => [
      name,
      { ...rest, hex: Buffer.from(bytes).toString('hex') },
    ]);
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
  });

  it('writes the very bytes that the reference writes', async () => {
    const names = ['b', 'B', 'a.weight', '\ufffd', '😀', 'tab\t"quote"\\\u0001\u007f', ''];
    const dtypes: DType[] = ['BOOL', 'U8', 'I8', 'I16', 'U16', 'F16', 'BF16', 'I32', 'U32', 'F32', 'C64', 'F64', 'I64'];
    dtypes.push('F8_E5M2', 'F8_E4M3', 'U64');
    const tensors = new Map<string, NewTensor>();
    for (const [i, dtype] of dtypes.entries()) {
      for (const name of names.slice(0, 1 + (i % names.length))) {
        const bytes = Uint8Array.from({ length: (3 * DTYPE_BITS[dtype]) / 8 }, (_, k) => (i + k) % 2);
        tensors.set(name + dtype, { dtype, shape: [3, 1], bytes });
      }
    }
    for (const metadata of [undefined, new Map([['format', 'pt']])]) {
      const ours = join(folder, 'ours.safetensors');
      const given = join(folder, 'given.json');
      await writeSafetensors(ours, tensors, metadata, { replace: true });
      const plain = [...tensors].map(([name, { bytes, ...rest }]) => [
        name,
        { ...rest, hex: Buffer.from(bytes).toString('hex') },
      ]);
      const about = metadata === undefined ? null : Object.fromEntries(metadata);
      await writeFile(given, JSON.stringify({ metadata: about, tensors: Object.fromEntries(plain) }));
      const theirs = Buffer.from((await runPython('safetensors_verdicts.py', 'serialize', given)).trim(), 'hex');
      expect((await readFile(ours)).equals(theirs)).toBe(true);
    }
  });
});
