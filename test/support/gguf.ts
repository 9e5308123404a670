import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '../../lib/checkpoint/checkpoint.js';
import { typeChanges } from '../../lib/checkpoint/layout.js';
import type { StoredType } from '../../lib/tensor/dtype.js';

/** The numbers of the types of metadata values. */
export const VALUE = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** A string as GGUF stores it: its length, then its bytes. */
export function text(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([u64(bytes.length), bytes]);
}

/** An array's element type, its length and its elements. */
export function array(type: number, elements: readonly Uint8Array[]): Buffer {
  return Buffer.concat([u32(type), u64(elements.length), ...elements]);
}

/** A key, a type and a value given as bytes. */
export function key(name: string | Uint8Array, type: number, value: Uint8Array): Buffer {
  return Buffer.concat([text(name), u32(type), value]);
}

export const word = (name: string, value: string) => key(name, VALUE.string, text(value));
export const number = (name: string, value: number) => key(name, VALUE.u32, u32(value));

/** The description of a tensor; dimensions as in the file, the innermost first. */
export function description(
  name: string | Uint8Array,
  dimensions: readonly (number | bigint)[],
  type: number,
  offset: number | bigint,
): Buffer {
  return Buffer.concat([text(name), u32(dimensions.length), ...dimensions.map(u64), u32(type), u64(offset)]);
}

export interface MadeGguf {
  readonly magic?: string;
  readonly version?: number;
  readonly tensorCount?: number | bigint;
  readonly keyCount?: number | bigint;
  readonly keys?: readonly Uint8Array[];
  readonly tensors?: readonly Uint8Array[];
  /** Where the data begin is a multiple of it. */
  readonly alignment?: number;
  readonly data?: Uint8Array;
}

/** The bytes of a GGUF file, right or wrong. */
export function madeGguf(file: MadeGguf): Buffer {
  const { magic = 'GGUF', version = 3, keys = [], tensors = [], alignment = 32, data = new Uint8Array(0) } = file;
  const header = Buffer.concat([
    Buffer.from(magic),
    u32(version),
    u64(file.tensorCount ?? tensors.length),
    u64(file.keyCount ?? keys.length),
    ...keys,
    ...tensors,
  ]);
  if (data.length === 0) return header;
  return Buffer.concat([header, Buffer.alloc((alignment - (header.length % alignment)) % alignment), data]);
}

export interface MadeTensor {
  readonly name: string;
  /** Row-major, as PyTorch counts. */
  readonly shape: readonly number[];
  /** ggml's number. */
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** A valid file, laid out as ggml does it. */
export function validGguf(keys: readonly Uint8Array[], tensors: readonly MadeTensor[], alignment = 32): Buffer {
  let offset = 0;
  const data: Uint8Array[] = [];
  const descriptions = tensors.map(({ name, shape, type, bytes }) => {
    const described = description(name, [...shape].reverse(), type, offset);
    const padding = (alignment - (bytes.length % alignment)) % alignment;
    data.push(bytes, new Uint8Array(padding));
    offset += bytes.length + padding;
    return described;
  });
  return madeGguf({ keys, tensors: descriptions, alignment, data: Buffer.concat(data) });
}

/**
 * The files of an edited copy, put together in memory as the layout says: slow, and simple enough
 * to be believed.
 */
export async function assembled(
  checkpoint: Checkpoint,
  folder: string,
  edited: ReadonlyMap<string, StoredType>,
  bytes: ReadonlyMap<string, Uint8Array>,
): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const { file, parts, places } of checkpoint.layout(typeChanges(edited))) {
    const source = await readFile(join(folder, file));
    const pieces = parts?.map((part) => {
      if (part.kind === 'bytes') return part.data;
      if (part.kind === 'tensor') return new Uint8Array(part.bytes);
      return source.subarray(part.offset, part.offset + part.bytes);
    });
    const copy = pieces === undefined ? Buffer.from(source) : Buffer.concat(pieces);
    for (const [name, place] of places) {
      const own = bytes.get(name)!;
      if (own.length !== place.bytes) throw new Error(`${name}: room for ${place.bytes} bytes, not ${own.length}`);
      copy.set(own, place.offset);
    }
    files.set(file, copy);
  }
  return files;
}
