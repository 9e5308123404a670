/**
 * Converts single numbers of IEEE 754 binary16, the type of the scales of quantised blocks. Native
 * code converts whole arrays (convert.ts).
 */

/** A table of all halves as numbers, since every block has one to four of them. */
let halves: Float32Array | undefined;

/** Returns the number that two bytes hold. */
export function halfAt(bytes: Uint8Array, at: number): number {
  halves ??= Float32Array.from({ length: 0x10000 }, (_, bits) => halfToNumber(bits));
  return halves[bytes[at]! | (bytes[at + 1]! << 8)]!;
}

/**
 * Returns the number that 16 bits represent; all of them are exact in float32.
 *
 * @internal
 */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/**
 * Returns the bits of the nearest number, ties to even, for a finite number of at least 0. Infinity
 * from 65520 on.
 */
export function positiveToHalf(value: number): number {
  if (value >= 65520) return 0x7c00;
  // Below the smallest normal number the steps are 2^-24; rounding up to 1024 of them gives its
  // bits.
  if (value < 2 ** -14) return roundToEven(value * 2 ** 24);
  const exponent = Math.floor(Math.log2(value));
  // Math.log2 may be wrong by one beside a power of two.
  const power = 2 ** exponent > value ? exponent - 1 : 2 ** (exponent + 1) <= value ? exponent + 1 : exponent;
  // From 1024 to 2048; 2048 carries into the exponent.
  return ((power + 14) << 10) + roundToEven(value * 2 ** (10 - power));
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
