import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import { DTYPE_BITS, type FloatDType } from '../tensor/dtype.js';

/** How what was written differs from what was there. */
export interface Change {
  /** ||W - What||_F / ||W||_F; 0 when both are zero. */
  readonly relativeError: number;
  /** ||What||_F^2 / ||W||_F^2; 1 when both are zero. */
  readonly keptEnergy: number;
}

/** Numbers at a time: enough to make the overhead of a call vanish, too few to count in memory. */
const CHUNK = 1 << 16;

/** Reads a matrix's bytes as float32 into `target`, which has as many numbers. */
export function readInto(target: Float32Array, bytes: Uint8Array, dtype: FloatDType): void {
  const itemBytes = DTYPE_BITS[dtype] / 8;
  for (let at = 0; at < target.length; at += CHUNK) {
    target.set(toFloat32(bytes.subarray(at * itemBytes, (at + CHUNK) * itemBytes), dtype), at);
  }
}

/**
 * Puts new numbers in the place of a matrix's bytes, rounded to its dtype, and measures in float64 what that changed,
 * the rounding included. In place and by parts, so that the matrix is in memory once.
 *
 * @param bytes the matrix as it was read
 * @param data the new numbers
 * @param onlyZeros write only those numbers that are 0, and leave the bits of all others as they were
 */
export function rewrite(bytes: Uint8Array, data: Float32Array, dtype: FloatDType, onlyZeros = false): Change {
  const itemBytes = DTYPE_BITS[dtype] / 8;
  let energy = 0;
  let kept = 0;
  let lost = 0;
  for (let at = 0; at < data.length; at += CHUNK) {
    const part = data.subarray(at, at + CHUNK);
    const place = bytes.subarray(at * itemBytes, (at + part.length) * itemBytes);
    const before = numbers(place, dtype);
    if (onlyZeros) writeZeros(place, part, itemBytes);
    else place.set(fromFloat32(part, dtype));
    const after = numbers(place, dtype);
    // Sums of parts keep the rounding of a sum of many millions small.
    const change = [0, 0, 0] as [number, number, number];
    for (let i = 0; i < before.length; i++) {
      const [w, v] = [before[i]!, after[i]!];
      change[0] += w * w;
      change[1] += v * v;
      change[2] += (w - v) * (w - v);
    }
    energy += change[0];
    kept += change[1];
    lost += change[2];
  }
  return {
    relativeError: lost === 0 ? 0 : Math.sqrt(lost / energy),
    keptEnergy: kept === energy ? 1 : kept / energy,
  };
}

function writeZeros(place: Uint8Array, data: Float32Array, itemBytes: number): void {
  for (let i = 0; i < data.length; i++) {
    if (data[i] === 0) place.fill(0, i * itemBytes, (i + 1) * itemBytes);
  }
}

/** float32 would round away the very differences that are measured where the file holds float64. */
function numbers(bytes: Uint8Array, dtype: FloatDType): Float32Array | Float64Array {
  if (dtype !== 'F64') return toFloat32(bytes, dtype);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float64Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
}
