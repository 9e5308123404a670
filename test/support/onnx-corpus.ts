import { counted, field, floats, graphProto, modelProto, nodeProto, tensorProto, varint } from './onnx.js';

/** A file and what its reader must say: `ok`, or the kind of fault. */
export interface Case {
  readonly name: string;
  readonly bytes: Buffer;
  readonly verdict: string;
  /** Python's `onnx` loads and checks it without a fault; this reader is stricter on purpose. */
  readonly stricter?: true;
}

const one = floats(1);
const model = (...initializers: Uint8Array[]) => modelProto(graphProto([], initializers));
const graph = (...parts: Uint8Array[]) => modelProto(Buffer.concat([field(2, 'graph'), ...parts]));
const tensor = (...parts: Uint8Array[]) => graph(field(5, Buffer.concat(parts)));
const called = (name: string | Uint8Array) => field(8, name);
const f32 = field(2, 1);
/** A length that is a lie. */
const claiming = (number: number, length: number | bigint, rest: Uint8Array = one) =>
  Buffer.concat([varint(number * 8 + 2), varint(length), rest]);

function nested(depth: number): Buffer {
  let inner = graphProto([], []);
  for (let i = 0; i < depth; i++) inner = graphProto([nodeProto({ op: 'If', inputs: ['c'], graphs: [inner] })], []);
  return modelProto(inner);
}

const cases: [name: string, bytes: Buffer, verdict: string, stricter?: true][] = [
  ['one tensor', model(counted('w', 2, 2)), 'ok'],
  ['a tensor without dimensions', model(tensorProto({ name: 'w', dims: [], raw: one })), 'ok'],
  ['no tensor', model(), 'ok'],
  ['the same name twice', model(counted('w', 1, 1), counted('w', 1, 1)), 'DuplicateTensor', true],
  ['no name', tensor(f32, field(9, one)), 'InvalidTensor'],
  ['an empty name', tensor(f32, called(''), field(9, one)), 'InvalidTensor'],
  ['a name twice', tensor(f32, called('a'), called('b'), field(9, one)), 'InvalidTensor', true],
  ['a name with NUL', tensor(f32, called('a\0'), field(9, one)), 'InvalidName', true],
  ['a name that is no UTF-8', tensor(f32, called(Buffer.from([0xff])), field(9, one)), 'InvalidName'],
  ['a name of 5000 bytes', tensor(f32, called('a'.repeat(5000)), field(9, one)), 'NameTooLong', true],
  ['a name that is a number', tensor(f32, field(8, 5), field(9, one)), 'InvalidProtobuf'],
  ['no type', tensor(called('w'), field(9, one)), 'UnknownElementType'],
  ['an unknown type', model(tensorProto({ name: 'w', dims: [], type: 99, raw: one })), 'UnknownElementType'],
  ['a type twice', tensor(called('w'), f32, f32, field(9, one)), 'InvalidTensor', true],
  ['a type beyond 64 bits', tensor(called('w'), field(2, 2n ** 64n - 1n), field(9, one)), 'UnknownElementType'],
  ['no data', model(tensorProto({ name: 'w', dims: [1] })), 'InvalidDataLength'],
  ['data too short', model(tensorProto({ name: 'w', dims: [2], raw: one })), 'InvalidDataLength'],
  ['data too long', model(tensorProto({ name: 'w', dims: [1], raw: floats(1, 2) })), 'InvalidDataLength'],
  ['data twice', tensor(f32, called('w'), field(9, one), field(9, one)), 'InvalidTensor', true],
  ['data of two kinds', tensor(f32, called('w'), field(9, one), field(4, one)), 'InvalidTensor', true],
  ['data of the wrong field', tensor(f32, called('w'), field(10, Buffer.alloc(8))), 'InvalidTensor'],
  ['raw data that are a number', tensor(f32, called('w'), field(9, 1)), 'InvalidTensor'],
  ['texts as raw data', model(tensorProto({ name: 'w', dims: [1], type: 8, raw: one })), 'InvalidTensor'],
  ['a list cut inside a number', tensor(f32, called('w'), field(1, 1), field(4, Buffer.alloc(3))), 'InvalidDataLength'],
  ['a segment', tensor(f32, called('w'), field(3, ''), field(9, one)), 'InvalidTensor'],
  ['a negative dimension', model(tensorProto({ name: 'w', dims: [-1], raw: one })), 'InvalidShape', true],
  ['a dimension of 2^53', model(tensorProto({ name: 'w', dims: [2n ** 53n], raw: one })), 'InvalidShape'],
  ['dimensions that overflow', model(tensorProto({ name: 'w', dims: [2 ** 31, 2 ** 31], raw: one })), 'InvalidShape'],
  [
    'dimensions that overflow to 1',
    model(tensorProto({ name: 'w', dims: Array(64).fill(2 ** 40), raw: one })),
    'InvalidShape',
  ],
  ['65 dimensions', model(tensorProto({ name: 'w', dims: Array(65).fill(1), raw: one })), 'InvalidShape'],
  [
    'a million dimensions in a list',
    tensor(f32, called('w'), field(1, Buffer.alloc(1e6, 1)), field(9, one)),
    'InvalidShape',
  ],
  ['an unknown data_location', tensor(f32, called('w'), field(9, one), field(14, 2)), 'InvalidTensor', true],
  ['data here and elsewhere', tensor(f32, called('w'), field(9, one), field(14, 1)), 'InvalidTensor'],
  ['data elsewhere, nowhere said', tensor(f32, called('w'), field(14, 1)), 'InvalidExternalData'],
  [
    'the same entry twice',
    tensor(
      f32,
      called('w'),
      ...Array(2).fill(field(13, Buffer.concat([field(1, 'location'), field(2, 'a')]))),
      field(14, 1),
    ),
    'InvalidExternalData',
  ],
  ['two graphs', Buffer.concat([model(), field(7, '')]), 'InvalidProtobuf', true],
  ['a graph that is a number', Buffer.concat([field(1, 8), field(7, 5)]), 'InvalidProtobuf', true],
  ['no graph', Buffer.concat([field(1, 8), field(2, 'x')]), 'NotOnnx', true],
  ['an initializer that is a number', graph(field(5, 1)), 'InvalidProtobuf', true],
  ['a node that is a number', graph(field(1, 1)), 'InvalidProtobuf', true],
  ['a graph cut short', Buffer.concat([field(1, 8), claiming(7, 100)]), 'Truncated'],
  ['a length of 2^31', Buffer.concat([field(1, 8), claiming(7, 2 ** 31)]), 'Truncated'],
  ['a length of 2^53', Buffer.concat([field(1, 8), claiming(7, 2n ** 53n)]), 'Truncated'],
  ['a length of 2^64 - 1', Buffer.concat([field(1, 8), claiming(7, -1)]), 'Truncated'],
  ['a tensor longer than the graph', graph(claiming(5, 5)), 'Truncated'],
  ['a tensor of 2^63 bytes', graph(claiming(5, 2n ** 63n)), 'Truncated'],
  ['raw data longer than the tensor', tensor(f32, called('w'), claiming(9, 8)), 'Truncated'],
  ['a number without an end', Buffer.concat([model(), Buffer.from([0x28, 0x80])]), 'Truncated'],
  [
    'a number of 11 bytes',
    Buffer.concat([model(), Buffer.from([0x28]), Buffer.alloc(10, 0x80), one]),
    'InvalidProtobuf',
  ],
  ['a group', Buffer.concat([model(), varint(90 * 8 + 3), varint(90 * 8 + 4)]), 'InvalidProtobuf', true],
  ['wire type 6', Buffer.concat([model(), varint(90 * 8 + 6)]), 'InvalidProtobuf'],
  ['wire type 7', Buffer.concat([model(), varint(90 * 8 + 7)]), 'InvalidProtobuf'],
  ['field 0', Buffer.concat([model(), Buffer.from([0x02, 0])]), 'InvalidProtobuf'],
  ['a field beyond 29 bits', Buffer.concat([model(), varint(2 ** 32), Buffer.from([0])]), 'InvalidProtobuf'],
  ['graphs inside each other', nested(16), 'ok'],
  ['too many graphs inside each other', nested(17), 'GraphTooDeep', true],
  ['a thousand graphs inside each other', nested(1000), 'GraphTooDeep'],
  ['20 million empty fields', graph(Buffer.alloc(4e7, Buffer.from([0x50, 1]))), 'TooManyFields', true],
  ['a node of a million inputs', graph(field(1, Buffer.alloc(3e6, field(1, 'x')))), 'TooManyNodes', true],
];

export const corpus: readonly Case[] = cases.map(([name, bytes, verdict, stricter]) => ({
  name,
  bytes,
  verdict,
  ...(stricter === undefined ? {} : { stricter }),
}));

/** A valid model with something of everything, for mutations and cuts. */
export const rich = modelProto(
  graphProto(
    [
      nodeProto({ op: 'Transpose', inputs: ['w'], outputs: ['t'], ints: { perm: [1, 0] } }),
      nodeProto({ op: 'Gemm', name: '/m/fc/Gemm', inputs: ['x', 't'], ints: { transB: 1 } }),
      nodeProto({ op: 'If', inputs: ['c'], graphs: [graphProto([nodeProto({ op: 'Neg', inputs: ['v'] })], [])] }),
    ],
    [
      counted('w', 2, 3),
      tensorProto({ name: 'v', dims: [3], type: 6, more: field(5, Buffer.from([1, 2, 3])) }),
      tensorProto({ name: 'e', dims: [1], external: { location: 'data.bin', offset: '0', length: '4' } }),
    ],
  ),
);
