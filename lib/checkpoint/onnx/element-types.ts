import { DTYPE_BITS, ONNX_BITS, type OnnxType, type StoredType } from '../../tensor/dtype.js';

/** The field of a TensorProto that has the numbers if `raw_data` does not. */
export type DataField = 'float_data' | 'int32_data' | 'string_data' | 'int64_data' | 'double_data' | 'uint64_data';

/** An element type of ONNX. */
export interface ElementType {
  readonly dtype: StoredType;
  /** Bits of an element in `raw_data`. Undefined for strings. */
  readonly bits: number | undefined;
  /** The field of the elements if they are not in `raw_data`. */
  readonly field: DataField;
}

const known = (dtype: keyof typeof DTYPE_BITS, field: DataField): ElementType => ({
  dtype,
  bits: DTYPE_BITS[dtype],
  field,
});

const foreign = (dtype: OnnxType, field: DataField): ElementType => ({
  dtype,
  bits: ONNX_BITS[dtype] || undefined,
  field,
});

/** By the number of `TensorProto.DataType`. Source: onnx.proto of ONNX 1.23. */
export const ELEMENT_TYPES: ReadonlyMap<number, ElementType> = new Map([
  [1, known('F32', 'float_data')],
  [2, known('U8', 'int32_data')],
  [3, known('I8', 'int32_data')],
  [4, known('U16', 'int32_data')],
  [5, known('I16', 'int32_data')],
  [6, known('I32', 'int32_data')],
  [7, known('I64', 'int64_data')],
  [8, foreign('STRING', 'string_data')],
  [9, known('BOOL', 'int32_data')],
  [10, known('F16', 'int32_data')],
  [11, known('F64', 'double_data')],
  [12, known('U32', 'uint64_data')],
  [13, known('U64', 'uint64_data')],
  [14, known('C64', 'float_data')],
  [15, foreign('C128', 'double_data')],
  [16, known('BF16', 'int32_data')],
  [17, known('F8_E4M3', 'int32_data')],
  [18, known('F8_E4M3FNUZ', 'int32_data')],
  [19, known('F8_E5M2', 'int32_data')],
  [20, known('F8_E5M2FNUZ', 'int32_data')],
  [21, foreign('U4', 'int32_data')],
  [22, foreign('I4', 'int32_data')],
  [23, known('F4', 'int32_data')],
  [24, known('F8_E8M0', 'int32_data')],
  [25, foreign('U2', 'int32_data')],
  [26, foreign('I2', 'int32_data')],
  [27, known('F6_E2M3', 'int32_data')],
  [28, known('F6_E3M2', 'int32_data')],
]);

/**
 * Returns the bytes of this many elements in `raw_data`; elements smaller than a byte are packed.
 */
export function packedBytes(elements: number, bits: number): number {
  return bits % 8 === 0 ? elements * (bits / 8) : Math.ceil((elements * bits) / 8);
}
