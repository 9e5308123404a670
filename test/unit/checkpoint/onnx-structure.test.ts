import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { openOnnx } from '../../../lib/checkpoint/onnx/checkpoint.js';
import { type FieldType, MESSAGE_TYPES } from '../../../lib/checkpoint/onnx/schema.js';
import { kind } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import {
  chainOfNodes,
  counted,
  field,
  floats,
  graphProto,
  modelProto,
  nodeProto,
  tensorProto,
  varint,
} from '../../support/onnx.js';
import { SLOWNESS } from '../../support/time.js';

const plain = modelProto(graphProto([nodeProto({ op: 'Neg', inputs: ['x'] })], [counted('w', 2, 2)]));

async function verdict(...more: readonly Uint8Array[]): Promise<string> {
  const file = join(temporaryFolder(), 'a.onnx');
  await writeFile(file, Buffer.concat([plain, ...more]));
  const opening = openOnnx(file, file).then((checkpoint) => checkpoint.close());
  return opening.then(
    () => 'ok',
    () => kind(opening),
  );
}

interface Step {
  readonly number: number;
  readonly type: FieldType;
}

/** The fields that lead to each field of each message, without going round in circles. */
function pathsFrom(message: string, before: readonly Step[] = [], seen: readonly string[] = []): Step[][] {
  const { fields } = MESSAGE_TYPES.get(message)!;
  return fields.flatMap((type, number) => {
    // A second graph is refused whatever is in it: what graphs hold is reached through
    // training_info.
    if (type === undefined || (message === 'ModelProto' && type.name === 'graph')) return [];
    const path = [...before, { number, type }];
    const goesOn = MESSAGE_TYPES.has(type.kind) && !seen.includes(type.kind);
    return [path, ...(goesOn ? pathsFrom(type.kind, path, [...seen, type.kind]) : [])];
  });
}

const paths = pathsFrom('ModelProto', [], ['ModelProto']);
const titled = (list: readonly Step[][]) =>
  list.map((path) => [path.map(({ type }) => type.name).join('.'), path] as const);

/** The bytes of the last field of a path, inside all the messages that lead to it. */
function inside(path: readonly Step[], last: Uint8Array): Uint8Array {
  return path.slice(0, -1).reduceRight<Uint8Array>((content, { number }) => field(number, content), last);
}

const numberOf = (path: readonly Step[]) => path.at(-1)!.number;
const kindOf = (path: readonly Step[]) => path.at(-1)!.type.kind;
const tag = (number: number, wire: number) => varint(number * 8 + wire);

describe('every message of an ONNX model', () => {
  it('is reached', () => {
    const reached = new Set(paths.flat().map(({ type }) => type.kind));
    const messages = [...MESSAGE_TYPES.keys()].filter((name) => name !== 'ModelProto');
    expect(messages.filter((name) => !reached.has(name as FieldType['kind']))).toEqual([]);
    expect(paths.length).toBeGreaterThan(1000);
  });

  it('is refused if a field extends beyond its end', async () => {
    const accepted: string[] = [];
    // Of the many ways to a message the shortest of each kind of field.
    for (const [name, path] of shortest()) {
      const verdicts = [
        await verdict(inside(path, Buffer.concat([tag(numberOf(path), 2), varint(5), Buffer.alloc(4)]))),
      ];
      verdicts.push(await verdict(inside(path, tag(numberOf(path), 0))));
      verdicts.push(await verdict(inside(path, Buffer.concat([tag(numberOf(path), 1), Buffer.alloc(7)]))));
      verdicts.push(await verdict(inside(path, Buffer.concat([tag(numberOf(path), 5), Buffer.alloc(3)]))));
      if (verdicts.some((found) => found !== 'Truncated')) accepted.push(`${name}: ${verdicts}`);
    }
    expect(accepted).toEqual([]);
  });

  it('is refused if a message in it is not one', async () => {
    const accepted: string[] = [];
    for (const [name, path] of shortest().filter(([, path]) => MESSAGE_TYPES.has(kindOf(path)))) {
      const found = await verdict(inside(path, field(numberOf(path), Buffer.from([0x02]))));
      if (found !== 'InvalidProtobuf') accepted.push(`${name}: ${found}`);
    }
    expect(accepted).toEqual([]);
  });

  it('may pack its repeated numbers in one list, which they must fill', async () => {
    const items: Readonly<Record<string, readonly [whole: Uint8Array, cut: Uint8Array]>> = {
      varints: [Buffer.from([1, 0x80, 1]), Buffer.from([1, 0x80])],
      fixed32s: [Buffer.alloc(8), Buffer.alloc(7)],
      fixed64s: [Buffer.alloc(8), Buffer.alloc(12)],
    };
    const lists = shortest().filter(([, path]) => Object.hasOwn(items, kindOf(path)));
    expect(lists.length).toBeGreaterThanOrEqual(9);
    for (const [name, path] of lists) {
      const [whole, cut] = items[kindOf(path)]!;
      expect([name, await verdict(inside(path, field(numberOf(path), cut)))]).toEqual([
        name,
        kindOf(path) === 'varints' ? 'Truncated' : 'InvalidDataLength',
      ]);
      // A tensor must fit its type and shape besides.
      if (path.some(({ type }) => type.kind === 'TensorProto')) continue;
      expect([name, await verdict(inside(path, field(numberOf(path), whole)))]).toEqual([name, 'ok']);
    }
  });

  it('may have unknown fields, or other wire types, which parsers skip', async () => {
    const others: readonly Uint8Array[] = [field(1000, 'text'), field(1001, 7)];
    const lax = shortest().filter(([, path]) => !isOfTensorOrNode(path));
    expect(lax.length).toBeGreaterThan(30);
    for (const [name, path] of lax) {
      for (const other of others) expect([name, await verdict(inside(path, other))]).toEqual([name, 'ok']);
      const wrong = kindOf(path).startsWith('varint') ? field(numberOf(path), 'text') : field(numberOf(path), 7);
      if (kindOf(path) === 'varints') continue;
      expect([name, await verdict(inside(path, wrong))]).toEqual([name, 'ok']);
    }
  });
});

/** Nodes, attributes and tensors are read as well as walked, and read more strictly. */
function isOfTensorOrNode(path: readonly Step[]): boolean {
  const strict = ['TensorProto', 'TensorProto.Segment', 'NodeProto', 'AttributeProto', 'GraphProto'];
  return path.some(({ type }) => strict.includes(type.kind));
}

/** For each field of each message one of the shortest ways there. */
function shortest() {
  const found = new Map<string, Step[]>();
  for (const path of paths) {
    const key = `${path.at(-2)?.type.kind ?? 'ModelProto'} ${path.at(-1)!.type.name}`;
    const known = found.get(key);
    if (known === undefined || path.length < known.length) found.set(key, path);
  }
  return titled([...found.values()]);
}

describe('numbers of the wire format', () => {
  /** With zeros that the number does not need. */
  const padded = (value: number, bytes: number) => {
    const shortest = [...varint(value)];
    while (shortest.length < bytes) {
      shortest[shortest.length - 1]! |= 0x80;
      shortest.push(0);
    }
    return Buffer.from(shortest);
  };
  const text = (tagBytes: number, lengthBytes: number) =>
    Buffer.concat([padded(2 * 8 + 2, tagBytes), padded(1, lengthBytes), Buffer.from('x')]);

  it('a tag and a length have at most 5 bytes, a value at most 10', async () => {
    expect(await verdict(text(5, 5))).toBe('ok');
    expect(await verdict(text(6, 1))).toBe('InvalidProtobuf');
    expect(await verdict(text(1, 6))).toBe('InvalidProtobuf');
    const value = (bytes: number) => Buffer.concat([tag(5, 0), padded(1, bytes)]);
    expect(await verdict(value(10))).toBe('ok');
    expect(await verdict(value(11))).toBe('InvalidProtobuf');
  });

  it('a list of numbers may be longer than one read', async () => {
    const numbers = Buffer.concat(Array.from({ length: 50_000 }, (_, i) => varint(i % 3 === 0 ? -1 : i)));
    const list = (content: Uint8Array) =>
      verdict(
        field(
          20,
          field(1, graphProto([], [tensorProto({ name: 't', dims: [50_000], type: 7, more: field(7, content) })])),
        ),
      );
    expect(numbers.length).toBeGreaterThan(3 * 64 * 1024);
    expect(await list(numbers)).toBe('ok');
    expect(await list(numbers.subarray(0, -1))).toBe('Truncated');
    const long = Buffer.from(numbers);
    long.fill(0xff, 100_000, 100_011);
    expect(await list(long)).toBe('InvalidProtobuf');
  });

  it('messages lie at most 100 deep', async () => {
    /**
     * A type inside that many lists, of a value of a training graph: 5 messages around, and 2 for
     * each list.
     */
    const types = (lists: number) => {
      let type: Uint8Array = field(1, field(1, 1));
      for (let i = 0; i < lists; i++) type = field(4, field(1, type));
      return verdict(field(20, field(1, field(13, field(2, type)))));
    };
    expect(await types(47)).toBe('ok');
    expect(await types(48)).toBe('MessageTooDeep');
    expect(await types(5000)).toBe('MessageTooDeep');
  });
});

describe('tensors that are not listed', () => {
  const broken = tensorProto({ name: '', dims: [2], raw: floats(1) });

  it.each([
    ['of a node', modelProto(graphProto([nodeProto({ op: 'Scale', inputs: [], tensors: [broken] })], []))],
    [
      'of a function',
      Buffer.concat([plain, field(25, field(7, nodeProto({ op: 'Constant', inputs: [], tensors: [broken] })))]),
    ],
    ['of a training graph', Buffer.concat([plain, field(20, field(1, graphProto([], [broken])))])],
    ['that are sparse', modelProto(Buffer.concat([graphProto([], []), field(15, field(1, broken))]))],
  ])('%s are held against their shape, too', async (_, bytes) => {
    const file = join(temporaryFolder(), 'a.onnx');
    await writeFile(file, bytes);
    expect(await kind(openOnnx(file, file))).toBe('InvalidDataLength');
  });

  it('must have their data where they claim', async () => {
    const outside = tensorProto({ name: 'e', dims: [1], external: { location: 'gone.bin' } });
    const node = nodeProto({ op: 'Constant', inputs: [], tensors: [outside] });
    const file = join(temporaryFolder(), 'a.onnx');
    for (const bytes of [modelProto(graphProto([node], [])), Buffer.concat([plain, field(25, field(7, node))])]) {
      await writeFile(file, bytes);
      expect(await kind(openOnnx(file, file))).toBe('MissingShard');
    }
  });
});

it('a graph of 10,000 nodes opens in time', async () => {
  const file = join(temporaryFolder(), 'a.onnx');
  await writeFile(file, chainOfNodes(10_000));
  const started = process.cpuUsage();
  await (await openOnnx(file, file)).close();
  const { user, system } = process.cpuUsage(started);
  // Processor time, because other tests run beside this one.
  expect(user + system).toBeLessThan(SLOWNESS * 1_000_000);
});
