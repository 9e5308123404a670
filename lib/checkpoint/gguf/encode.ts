import { VALUE_TYPES, type ValueType } from './types.js';

/** A metadata value to write. */
export type GgufValue = string | { readonly u32: number } | { readonly f32: number };

export const QUANTIZATION_VERSION_KEY = 'general.quantization_version';
/** GGML_QNT_VERSION of ggml.h: the version of the blocks' layout. */
export const QUANTIZATION_VERSION = 2;

/** Returns a key, the type of its value and the value as bytes of a header. */
export function encodeKey(key: string, value: GgufValue): Uint8Array {
  const [type, bytes] = encodeValue(value);
  return Buffer.concat([encodeString(key), encodeU32(VALUE_TYPES.findIndex(({ name }) => name === type)), bytes]);
}

/** Returns a string as a header has it: its length, then UTF-8. */
export function encodeString(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  return Buffer.concat([encodeU64(bytes.length), bytes]);
}

export function encodeU32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

export function encodeU64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function encodeValue(value: GgufValue): [ValueType, Uint8Array] {
  if (typeof value === 'string') return ['string', encodeString(value)];
  if ('u32' in value) return ['u32', encodeU32(value.u32)];
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value.f32);
  return ['f32', bytes];
}
