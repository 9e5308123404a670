import { callSync } from '../addon/call.js';
import { FLOAT_FORMAT_CODE } from '../addon/contract.js';
import { addon } from '../addon/load.js';
import { ArgumentError, LowRankError } from '../errors.js';
import {
  DTYPE_BITS,
  isFloatDType,
  isReadableType,
  isWritableType,
  type ReadableType,
  type StoredType,
  type WritableType,
} from './dtype.js';
import { dequantize, quantizeQ8 } from './quantized.js';

/**
 * Converts little-endian bytes of a float dtype, at any alignment, or quantised blocks to float32.
 *
 * @throws ArgumentError `ERR_SHAPE` if the bytes are not a whole number of elements or blocks.
 * @throws LowRankError `ERR_UNSUPPORTED` for types other than {@link ReadableType}.
 */
export function toFloat32(bytes: Uint8Array, type: StoredType): Float32Array {
  if (!isReadableType(type)) throw new LowRankError('ERR_UNSUPPORTED', `${type} cannot be read as numbers`);
  if (!isFloatDType(type)) return dequantize(bytes, type);
  const size = DTYPE_BITS[type] / 8;
  if (bytes.byteLength % size !== 0) {
    throw new ArgumentError('bytes', `a multiple of ${size} bytes for ${type}`, bytes.byteLength, 'ERR_SHAPE');
  }
  const count = bytes.byteLength / size;
  const target = new Float32Array(count);
  // A Buffer is a Uint8Array, but a pooled one may have any alignment: the native side reads bytes,
  // not elements.
  callSync(addon().toFloat32, { format: FLOAT_FORMAT_CODE[type], count, source: bytes, target });
  return target;
}

/**
 * Converts float32 to little-endian bytes of a float dtype, rounded to nearest, ties to even, or to
 * blocks of Q8_0.
 *
 * @throws ArgumentError `ERR_SHAPE` if the numbers do not fill whole blocks.
 * @throws LowRankError `ERR_UNSUPPORTED` for types other than {@link WritableType}, and for numbers
 *   that are not finite or too large for Q8_0.
 */
export function fromFloat32(data: Float32Array, type: StoredType): Uint8Array {
  if (!isWritableType(type)) throw new LowRankError('ERR_UNSUPPORTED', `numbers cannot be stored as ${type}`);
  if (!isFloatDType(type)) return quantizeQ8(data);
  const target = new Uint8Array((data.length * DTYPE_BITS[type]) / 8);
  callSync(addon().fromFloat32, { format: FLOAT_FORMAT_CODE[type], count: data.length, source: data, target });
  return target;
}
