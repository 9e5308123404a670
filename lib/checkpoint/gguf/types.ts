import { blockOf, type StoredType } from '../../tensor/dtype.js';

/**
 * ggml's number of each type of a tensor (`enum ggml_type` in ggml.h; missing numbers were
 * withdrawn).
 */
const CODES = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 6,
  Q5_1: 7,
  Q8_0: 8,
  Q8_1: 9,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
  Q8_K: 15,
  IQ2_XXS: 16,
  IQ2_XS: 17,
  IQ3_XXS: 18,
  IQ1_S: 19,
  IQ4_NL: 20,
  IQ3_S: 21,
  IQ2_S: 22,
  IQ4_XS: 23,
  I8: 24,
  I16: 25,
  I32: 26,
  I64: 27,
  F64: 28,
  IQ1_M: 29,
  BF16: 30,
  TQ1_0: 34,
  TQ2_0: 35,
  MXFP4: 39,
  NVFP4: 40,
  Q1_0: 41,
} as const satisfies Partial<Record<StoredType, number>>;

/** A type that a tensor in a GGUF file can have. */
export type GgmlType = keyof typeof CODES;

const BY_CODE: ReadonlyMap<number, GgmlType> = new Map(
  Object.entries(CODES).map(([type, code]) => [code, type as GgmlType]),
);

/** Returns the type of a number; undefined if there is none. */
export function ggmlType(code: number): GgmlType | undefined {
  return BY_CODE.get(code);
}

export function isGgmlType(type: string): type is GgmlType {
  return Object.hasOwn(CODES, type);
}

export function ggmlCode(type: GgmlType): number {
  return CODES[type];
}

/**
 * Returns the bytes of a tensor: whole blocks along its last dimension, which must be a multiple of
 * the block.
 */
export function ggmlBytes(type: GgmlType, shape: readonly number[]): number {
  const block = blockOf(type);
  return (shape.reduce((product, dimension) => product * dimension, 1) / block.numbers) * block.bytes;
}

/**
 * The types of metadata values (`enum gguf_type` in gguf.h), with the bytes of those that have a
 * fixed size.
 */
export const VALUE_TYPES = [
  { name: 'u8', bytes: 1 },
  { name: 'i8', bytes: 1 },
  { name: 'u16', bytes: 2 },
  { name: 'i16', bytes: 2 },
  { name: 'u32', bytes: 4 },
  { name: 'i32', bytes: 4 },
  { name: 'f32', bytes: 4 },
  { name: 'bool', bytes: 1 },
  { name: 'string', bytes: undefined },
  { name: 'array', bytes: undefined },
  { name: 'u64', bytes: 8 },
  { name: 'i64', bytes: 8 },
  { name: 'f64', bytes: 8 },
] as const;

export type ValueType = (typeof VALUE_TYPES)[number]['name'];
/** A value that is one number or truth value. */
export type ScalarType = Exclude<ValueType, 'string' | 'array'>;
