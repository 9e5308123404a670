import { callSync } from '../addon/call.js';
import { addon } from '../addon/load.js';
import { LowRankError } from '../errors.js';

/**
 * Returns the sum of squares in float64. It is not finite if and only if a number is not: squares
 * of float32 do not overflow it.
 */
export function sumOfSquares(x: Float32Array): number {
  const out = new Float64Array(1);
  callSync(addon().sumOfSquares, { count: x.length, x, out });
  return out[0]!;
}

/**
 * Checks that all numbers are finite.
 *
 * @throws LowRankError `ERR_NOT_FINITE`, naming the first NaN or infinity.
 */
export function requireFinite(x: Float32Array, name: string): void {
  if (Number.isFinite(sumOfSquares(x))) return;
  const index = x.findIndex((value) => !Number.isFinite(value));
  throw new LowRankError('ERR_NOT_FINITE', `${name}: ${x[index]} at index ${index}`);
}
