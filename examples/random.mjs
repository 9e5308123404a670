// Seeded random numbers, so that every run of an example prints the same.

/**
 * Returns numbers of the standard normal distribution (Box and Muller 1958, over Marsaglia's xorshift32 generator of 2003).
 *
 * @param {number} count
 * @param {number} seed - Not 0.
 * @returns {Float32Array}
 */
export function normal(count, seed) {
  // Small seeds would start with small numbers.
  let state = Math.imul(seed, 0x9e3779b9);
  const uniform = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
