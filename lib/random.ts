/**
 * Random numbers that are the same for the same seed on every machine. Native code has its own
 * generator, which fills matrices.
 */

import { ArgumentError } from './errors.js';

/** Checks a seed; returns 0 if none is given. */
export function seedOf(seed: number | undefined): number {
  if (seed === undefined) return 0;
  if (!Number.isSafeInteger(seed) || seed < 0) throw new ArgumentError('seed', 'a whole number of at least 0', seed);
  return seed;
}

/** Returns a generator of numbers evenly distributed in [0, 1), with 32 bits. */
export function uniform(seed: number): () => number {
  // Four words from the 53 bits of the seed, through the finaliser of MurmurHash3 (Appleby 2011),
  // never all zero.
  const high = Math.floor(seed / 2 ** 32);
  const words = [1, 2, 3, 4].map((i) => mixed(mixed(seed + i * 0x9e3779b9) ^ (high + i)));
  const next = xoshiro([words[0]! | 1, words[1]!, words[2]!, words[3]!]);
  return () => next() / 2 ** 32;
}

/**
 * @internal Returns a generator of 32-bit integers: xoshiro128** (Blackman and Vigna 2021), from a
 *   state that is not all zero.
 */
export function xoshiro([a, b, c, d]: [number, number, number, number]): () => number {
  return () => {
    const result = Math.imul(rotated(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotated(d, 11);
    return result;
  };
}

/**
 * Returns a generator of standard normal numbers (Box and Muller 1958) that uses both of each pair.
 */
export function normal(next: () => number): () => number {
  let kept: number | undefined;
  return () => {
    if (kept !== undefined) {
      const value = kept;
      kept = undefined;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - next()));
    const angle = 2 * Math.PI * next();
    kept = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

/** Returns the first `count` of the numbers below `length` in a random order (Fisher and Yates). */
export function drawn(length: number, seed: number, count = length): number[] {
  const random = uniform(seed);
  const all = Array.from({ length }, (_, i) => i);
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(random() * (length - i));
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all.slice(0, count);
}

/** Returns a shuffled copy. */
export function shuffled<T>(items: readonly T[], seed: number): T[] {
  return drawn(items.length, seed).map((i) => items[i]!);
}

function rotated(x: number, by: number): number {
  return (x << by) | (x >>> (32 - by));
}

function mixed(x: number): number {
  let z = x >>> 0;
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return (z ^ (z >>> 16)) >>> 0;
}
