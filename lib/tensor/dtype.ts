/**
 * The element types of checkpoints, with safetensors' names. Sizes are in bits, because some are
 * smaller than a byte.
 */
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

/** The dtypes whose matrices can be edited: read as float32, and written back in the same dtype. */
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
 * The blocks of quantised numbers in GGUF, with ggml's names: the numbers in a block, and its
 * bytes. Source: ggml's `ggml-common.h`, the `block_*` structures.
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
  IQ1_S: { numbers: 256, bytes: 50 },
  IQ1_M: { numbers: 256, bytes: 56 },
  IQ2_XXS: { numbers: 256, bytes: 66 },
  IQ2_XS: { numbers: 256, bytes: 74 },
  IQ2_S: { numbers: 256, bytes: 82 },
  IQ3_XXS: { numbers: 256, bytes: 98 },
  IQ3_S: { numbers: 256, bytes: 110 },
  IQ4_NL: { numbers: 32, bytes: 18 },
  IQ4_XS: { numbers: 256, bytes: 136 },
  TQ1_0: { numbers: 256, bytes: 54 },
  TQ2_0: { numbers: 256, bytes: 66 },
  MXFP4: { numbers: 32, bytes: 17 },
  NVFP4: { numbers: 64, bytes: 36 },
} as const;

/**
 * Element types that are blocks of quantised numbers.
 *
 * @useDeclaredType
 */
export type QuantizedType = keyof typeof QUANTIZED_BLOCKS;

/**
 * Blocks of GGUF, with ggml's names, that this package does not decode: their tensors are listed
 * and copied unchanged. Sources: ggml's `ggml-common.h`; `GGML_QUANT_SIZES` of its Python package
 * `gguf`.
 */
const OPAQUE_BLOCKS = {
  Q8_1: { numbers: 32, bytes: 40 },
  Q8_K: { numbers: 256, bytes: 292 },
  Q1_0: { numbers: 128, bytes: 18 },
} as const;

/**
 * Element types that are blocks of numbers which this package does not decode.
 *
 * @useDeclaredType
 */
export type OpaqueType = keyof typeof OPAQUE_BLOCKS;

/**
 * Element types that only ONNX has, with their bits: 0 for strings, which have no fixed size. Their
 * tensors are listed and copied unchanged.
 */
export const ONNX_BITS = { STRING: 0, C128: 128, U4: 4, I4: 4, U2: 2, I2: 2 } as const;

/**
 * Element types that only ONNX has.
 *
 * @useDeclaredType
 */
export type OnnxType = keyof typeof ONNX_BITS;

/** The types in which a tensor can be stored. */
export type StoredType = DType | QuantizedType | OpaqueType | OnnxType;

/** The types whose numbers can be converted to float32. */
export type ReadableType = FloatDType | QuantizedType;

/** The types in which float32 numbers can be stored. */
export const WRITABLE_TYPES = ['Q8_0', ...FLOAT_DTYPES] as const;
/**
 * The types in which float32 numbers can be stored.
 *
 * @useDeclaredType
 */
export type WritableType = (typeof WRITABLE_TYPES)[number];

/** The types to offer for a quantised tensor that gets new numbers; F64 would only add bytes. */
export const QUANT_TYPES: readonly WritableType[] = ['Q8_0', 'F16', 'BF16', 'F32'];

export function isQuantizedType(type: string): type is QuantizedType {
  return Object.hasOwn(QUANTIZED_BLOCKS, type);
}

export function isReadableType(type: string): type is ReadableType {
  return isFloatDType(type) || isQuantizedType(type);
}

export function isWritableType(type: string): type is WritableType {
  return (WRITABLE_TYPES as readonly string[]).includes(type);
}

/**
 * Returns the smallest unit of a type that fills whole bytes: a block of quantised numbers, one
 * number of most types, or several numbers of types smaller than a byte.
 */
export function blockOf(type: StoredType): { readonly numbers: number; readonly bytes: number } {
  if (isQuantizedType(type)) return QUANTIZED_BLOCKS[type];
  if (Object.hasOwn(OPAQUE_BLOCKS, type)) return OPAQUE_BLOCKS[type as OpaqueType];
  const bits = Object.hasOwn(ONNX_BITS, type) ? ONNX_BITS[type as OnnxType] : DTYPE_BITS[type as DType];
  const numbers = bits % 8 === 0 ? 1 : bits === 4 ? 2 : 4;
  return { numbers, bytes: (bits * numbers) / 8 };
}
