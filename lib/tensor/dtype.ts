/** The element types of checkpoints, by safetensors' names. Sizes in bits, because some are smaller than a byte. */
export const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

/**
 * The element types of safetensors.
 *
 * @useDeclaredType
 */
export type DType = keyof typeof DTYPE_BITS;

/** The dtypes whose matrices can be edited: read as float32, written back as they were. */
export const FLOAT_DTYPES = ['F64', 'F32', 'F16', 'BF16'] as const;
/**
 * The element types whose matrices can be edited.
 *
 * @useDeclaredType
 */
export type FloatDType = (typeof FLOAT_DTYPES)[number];

export function isFloatDType(dtype: string): dtype is FloatDType {
  return (FLOAT_DTYPES as readonly string[]).includes(dtype);
}

/**
 * The blocks of quantised numbers that GGUF stores, by ggml's names: how many numbers a block holds, and its bytes.
 * Source: ggml's `ggml-common.h`, the `block_*` structures.
 */
export const QUANTIZED_BLOCKS = {
  Q4_0: { numbers: 32, bytes: 18 },
  Q4_1: { numbers: 32, bytes: 20 },
  Q5_0: { numbers: 32, bytes: 22 },
  Q5_1: { numbers: 32, bytes: 24 },
  Q8_0: { numbers: 32, bytes: 34 },
  Q2_K: { numbers: 256, bytes: 84 },
  Q3_K: { numbers: 256, bytes: 110 },
  Q4_K: { numbers: 256, bytes: 144 },
  Q5_K: { numbers: 256, bytes: 176 },
  Q6_K: { numbers: 256, bytes: 210 },
} as const;

/**
 * Element types that are blocks of quantised numbers.
 *
 * @useDeclaredType
 */
export type QuantizedType = keyof typeof QUANTIZED_BLOCKS;

/** What a tensor can be stored as. */
export type StoredType = DType | QuantizedType;
