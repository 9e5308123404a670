import { array, description, key, type MadeGguf, madeGguf, number, text, u32, u64, VALUE, word } from './gguf.js';
import type { Case } from './safetensors-corpus.js';

const F32 = 0;
const F16 = 1;
const Q4_0 = 2;
const Q4_K = 12;
const BF16 = 30;
const A = description('a', [4, 2], F32, 0);
const data = Buffer.alloc(32, 'data');

const one = (described: Uint8Array, bytes: Uint8Array = data): MadeGguf => ({ tensors: [described], data: bytes });
const two = (second: Uint8Array, bytes = 96): MadeGguf => ({ tensors: [A, second], data: Buffer.alloc(bytes, 1) });
const withKey = (...keys: Uint8Array[]): MadeGguf => ({ keys, tensors: [A], data });
/** A length of 2^63 behind the fields that come first, and no more. */
const hugeLength = (...before: Uint8Array[]) => Buffer.concat([...before, u64(2n ** 63n)]);

/**
 * The last column: `stricter` where Python's reader accepts the file, `python` where it refuses one
 * that is right.
 */
const files: [name: string, file: MadeGguf | Buffer, verdict: string, difference?: 'stricter' | 'python'][] = [
  ['one tensor', one(A), 'ok'],
  ['version 2', { ...one(A), version: 2 }, 'ok'],
  ['no tensor', { keys: [word('general.architecture', 'llama')] }, 'ok'],
  ['nothing at all', {}, 'ok'],
  ['an empty file', Buffer.alloc(0), 'Truncated'],
  ['three bytes', Buffer.from('GGU'), 'Truncated'],
  ['the magic in small letters', { ...one(A), magic: 'gguf' }, 'InvalidMagic'],
  ['the magic of GGML', { ...one(A), magic: 'ggml' }, 'InvalidMagic'],
  ['the magic backwards', { ...one(A), magic: 'FUGG' }, 'InvalidMagic'],
  ['version 0', { ...one(A), version: 0 }, 'UnsupportedVersion'],
  ['version 1', { ...one(A), version: 1 }, 'UnsupportedVersion'],
  ['version 4', { ...one(A), version: 4 }, 'UnsupportedVersion'],
  ['big-endian', { ...one(A), version: 0x03000000 }, 'BigEndian'],
  ['version 65536', { ...one(A), version: 0x10000 }, 'BigEndian'],
  ['more tensors than described', { ...one(A), tensorCount: 2 }, 'InvalidOffset', 'stricter'],
  ['2^64 - 1 tensors', { ...one(A), tensorCount: 2n ** 64n - 1n }, 'InvalidLength'],
  ['a billion tensors', { ...one(A), tensorCount: 1_000_000_000 }, 'InvalidLength'],
  ['fewer tensors than described', { ...two(description('b', [1], F32, 32)), tensorCount: 1 }, 'ok'],
  ['2^64 - 1 keys', { ...one(A), keyCount: 2n ** 64n - 1n }, 'InvalidLength'],
  ['2^63 keys', { ...one(A), keyCount: 2n ** 63n }, 'InvalidLength'],
  ['more keys than there are', { ...one(A), keyCount: 1 }, 'InvalidLength'],
  ['a key of every type', withKey(...everyType()), 'ok'],
  ['a key of type 13', withKey(key('k', 13, u32(0))), 'UnknownValueType'],
  ['a key of type 2^32 - 1', withKey(key('k', 0xffffffff, u32(0))), 'UnknownValueType'],
  ['the same key twice', withKey(number('k', 1), number('k', 2)), 'DuplicateKey'],
  ['a key with NUL', withKey(number('k\0', 1)), 'InvalidName', 'stricter'],
  ['a key that is no UTF-8', withKey(key(Buffer.from([0x6b, 0xff]), VALUE.u32, u32(1))), 'InvalidName'],
  ['an empty key', withKey(number('', 1)), 'ok'],
  ['a key of 65,535 bytes', withKey(number('k'.repeat(65_535), 1)), 'ok'],
  ['a key of 65,536 bytes', withKey(number('k'.repeat(65_536), 1)), 'InvalidName', 'stricter'],
  ['a key with a huge length', { keyCount: 1, keys: [hugeLength()], data }, 'InvalidLength'],
  ['a truth value of 2', withKey(key('k', VALUE.bool, Buffer.from([2]))), 'InvalidBool', 'stricter'],
  [
    'an array of truth values with a 7',
    withKey(key('k', VALUE.array, array(VALUE.bool, [Buffer.from([1, 0, 7])].flatMap(bytesOf)))),
    'InvalidBool',
    'stricter',
  ],
  ['a string that is no UTF-8', withKey(key('k', VALUE.string, text(Buffer.from([0xff])))), 'ok'],
  ['a string with a huge length', { keys: [key('k', VALUE.string, hugeLength())], data }, 'InvalidLength', 'stricter'],
  ['an empty array', withKey(key('k', VALUE.array, array(VALUE.u32, []))), 'ok'],
  ['an array of strings', withKey(key('k', VALUE.array, array(VALUE.string, [text('a'), text('')]))), 'ok'],
  ['an array of type 13', withKey(key('k', VALUE.array, array(13, [u32(0)]))), 'UnknownValueType'],
  ['an empty array of type 13', withKey(key('k', VALUE.array, array(13, []))), 'UnknownValueType', 'stricter'],
  [
    'an array with a huge length',
    { keyCount: 1, keys: [key('k', VALUE.array, hugeLength(u32(VALUE.u8)))], data },
    'InvalidLength',
  ],
  [
    'an array of 64-bit numbers whose bytes wrap around',
    { keyCount: 1, keys: [key('k', VALUE.array, Buffer.concat([u32(VALUE.u64), u64(2n ** 61n + 1n)]))], data },
    'InvalidLength',
  ],
  [
    'an array of arrays',
    withKey(key('k', VALUE.array, array(VALUE.array, [array(VALUE.u8, [Buffer.from([1])]), array(VALUE.string, [])]))),
    'ok',
  ],
  ['arrays eight deep', withKey(key('k', VALUE.array, arraysDeep(8))), 'ok'],
  ['arrays nine deep', withKey(key('k', VALUE.array, arraysDeep(9))), 'ArraysTooDeep', 'stricter'],
  ['arrays ten thousand deep', withKey(key('k', VALUE.array, arraysDeep(10_000))), 'ArraysTooDeep'],
  ['alignment 64', { ...withKey(number('general.alignment', 64)), alignment: 64 }, 'ok'],
  ['alignment 8', { ...withKey(number('general.alignment', 8)), alignment: 8 }, 'ok'],
  ['alignment 0', withKey(number('general.alignment', 0)), 'InvalidAlignment'],
  ['alignment 4', withKey(number('general.alignment', 4)), 'InvalidAlignment', 'stricter'],
  ['alignment 48', withKey(number('general.alignment', 48)), 'InvalidAlignment'],
  ['alignment 2^31', { keys: [number('general.alignment', 2 ** 31)] }, 'InvalidAlignment', 'stricter'],
  ['an alignment of 64 bits', withKey(key('general.alignment', VALUE.u64, u64(32))), 'InvalidAlignment'],
  ['an alignment as a string', withKey(word('general.alignment', '32')), 'InvalidAlignment'],
  ['the same name twice', two(description('a', [1], F32, 32)), 'DuplicateName'],
  ['an empty name', one(description('', [8], F32, 0)), 'ok'],
  ['a name with NUL', one(description('a\0', [8], F32, 0)), 'InvalidName', 'stricter'],
  ['a name that is no UTF-8', one(description(Buffer.from([0xc0, 0x80]), [8], F32, 0)), 'InvalidName'],
  ['a name beyond ASCII', one(description('μ😀', [8], F32, 0)), 'ok'],
  ['__proto__', one(description('__proto__', [8], F32, 0)), 'ok'],
  ['a name of 128 bytes', one(description('n'.repeat(128), [8], F32, 0)), 'ok'],
  ['a name of 129 bytes', one(description('n'.repeat(129), [8], F32, 0)), 'InvalidName', 'stricter'],
  ['a name with a huge length', { tensorCount: 1, tensors: [hugeLength()], data }, 'InvalidLength'],
  ['a scalar', one(description('a', [], F32, 0)), 'ok'],
  ['four dimensions', one(description('a', [2, 2, 1, 2], F32, 0)), 'ok'],
  ['five dimensions', one(description('a', [2, 2, 1, 2, 1], F32, 0)), 'TooManyDimensions', 'stricter'],
  [
    '2^32 - 1 dimensions',
    { tensorCount: 1, tensors: [Buffer.concat([text('a'), u32(0xffffffff)])], data: Buffer.alloc(64) },
    'TooManyDimensions',
  ],
  ['a dimension of 0', one(description('a', [0, 8], F32, 0)), 'ok'],
  ['a dimension of 2^64 - 1', one(description('a', [2n ** 64n - 1n], F32, 0)), 'Overflow'],
  ['numbers that overflow', one(description('a', [2 ** 32, 2 ** 32], F32, 0)), 'Overflow'],
  ['numbers that wrap around to the right size', one(description('a', [2n ** 61n + 1n, 8], F32, 0)), 'Overflow'],
  ['numbers that overflow beside a 0', one(description('a', [2 ** 32, 2 ** 32, 0], F32, 0)), 'Overflow'],
  ['the withdrawn type 4', one(description('a', [32], 4, 0)), 'UnknownTensorType'],
  ['the type 1000', one(description('a', [32], 1000, 0)), 'UnknownTensorType'],
  ['rows that are no whole blocks', one(description('a', [16, 2], Q4_0, 0)), 'InvalidBlock'],
  ['rows that are no whole superblocks', one(description('a', [128, 2], Q4_K, 0), Buffer.alloc(144)), 'InvalidBlock'],
  ['a scalar of blocks', one(description('a', [], Q4_0, 0)), 'InvalidBlock'],
  ['a block', one(description('a', [32], Q4_0, 0), Buffer.alloc(18)), 'ok'],
  ['a superblock', one(description('a', [256], Q4_K, 0), Buffer.alloc(144)), 'ok'],
  ['a type that is not decoded', one(description('a', [256, 2], 16, 0), Buffer.alloc(132)), 'ok'],
  ['halves', two(description('b', [3, 5], BF16, 32), 62), 'ok'],
  ['no padding at the end', two(description('b', [3], F16, 32), 38), 'ok'],
  ['bytes behind the last tensor', one(A, Buffer.alloc(100)), 'ok'],
  ['an empty tensor at the end', two(description('b', [0], F32, 32), 32), 'ok'],
  ['an offset of 16', two(description('b', [1], F32, 16)), 'InvalidOffset', 'stricter'],
  ['an offset of 33', two(description('b', [1], F32, 33)), 'InvalidOffset', 'stricter'],
  ['two tensors on the same bytes', two(description('b', [1], F32, 0)), 'InvalidOffset', 'stricter'],
  ['a hole', two(description('b', [1], F32, 64)), 'InvalidOffset', 'stricter'],
  ['a first tensor behind a hole', one(description('a', [4], F32, 32), Buffer.alloc(64)), 'InvalidOffset', 'stricter'],
  [
    'tensors in another order than their descriptions',
    { tensors: [description('a', [4], F32, 32), description('b', [4], F32, 0)], data: Buffer.alloc(64) },
    'InvalidOffset',
    'stricter',
  ],
  ['an offset of 2^64 - 32', two(description('b', [1], F32, 2n ** 64n - 32n)), 'InvalidOffset', 'stricter'],
  ['a tensor beyond the file', one(description('a', [9], F32, 0)), 'DataBeyondFile'],
  ['a tensor far beyond the file', one(description('a', [2 ** 40], F32, 0)), 'DataBeyondFile'],
  ['no data', { tensors: [A] }, 'DataBeyondFile'],
  ['a key called GGUF.version', withKey(number('GGUF.version', 1)), 'ok', 'python'],
];

function everyType(): Buffer[] {
  const sizes = { u8: 1, i8: 1, u16: 2, i16: 2, u32: 4, i32: 4, f32: 4, bool: 1, u64: 8, i64: 8, f64: 8 };
  return [
    ...Object.entries(sizes).flatMap(([type, size]) => {
      const code = VALUE[type as keyof typeof sizes];
      const value = Buffer.alloc(size, 1);
      return [key(type, code, value), key(`${type}s`, VALUE.array, array(code, [value, value]))];
    }),
    word('string', 'x'),
    key('strings', VALUE.array, array(VALUE.string, [text('x'), text('yz')])),
  ];
}

/** Arrays with one element each, down to an array of a byte. */
function arraysDeep(depth: number): Buffer {
  const outer = Array.from({ length: depth - 1 }, () => Buffer.concat([u32(VALUE.array), u64(1)]));
  return Buffer.concat([...outer, array(VALUE.u8, [Buffer.from([1])])]);
}

function bytesOf(buffer: Buffer): Buffer[] {
  return [...buffer].map((byte) => Buffer.from([byte]));
}

export interface GgufCase extends Case {
  /** Python's reader refuses it, for no fault of the file. */
  readonly pythonOdd?: true;
}

/** Made by hand: at least one file for every rule of the format. */
export const ggufCorpus: readonly GgufCase[] = files.map(([name, file, verdict, difference]) => ({
  name,
  bytes: Buffer.isBuffer(file) ? file : madeGguf(file),
  verdict,
  ...(difference === 'stricter' ? { stricter: true as const } : {}),
  ...(difference === 'python' ? { pythonOdd: true as const } : {}),
}));
