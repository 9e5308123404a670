import { callSync } from '../addon/call.js';
import { FLOAT_FORMAT_CODE } from '../addon/contract.js';
import { addon } from '../addon/load.js';
import { ArgumentError } from '../errors.js';
import { DTYPE_BITS, type FloatDType } from './dtype.js';

/**
 * Little-endian bytes of a float dtype, at any alignment, as float32.
 *
 * @throws ArgumentError `ERR_SHAPE` when the bytes are no whole number of elements.
 */
export function toFloat32(bytes: Uint8Array, dtype: FloatDType): Float32Array {
  const size = DTYPE_BITS[dtype] / 8;
  if (bytes.byteLength % size !== 0) {
    throw new ArgumentError('bytes', `a multiple of ${size} bytes for ${dtype}`, bytes.byteLength, 'ERR_SHAPE');
  }
  const count = bytes.byteLength / size;
  const target = new Float32Array(count);
  // A Buffer is a Uint8Array, but a pooled one may lie anywhere: the native side reads bytes, not elements.
  callSync(addon().toFloat32, { format: FLOAT_FORMAT_CODE[dtype], count, source: bytes, target });
  return target;
}

/** float32 as little-endian bytes of a float dtype, rounded to nearest, ties to even. */
export function fromFloat32(data: Float32Array, dtype: FloatDType): Uint8Array {
  const target = new Uint8Array((data.length * DTYPE_BITS[dtype]) / 8);
  callSync(addon().fromFloat32, { format: FLOAT_FORMAT_CODE[dtype], count: data.length, source: data, target });
  return target;
}
