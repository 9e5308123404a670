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
