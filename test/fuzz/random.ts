import { random } from '../support/random.js';

/** Random choices that the same seed repeats. */
export class Random {
  /** In [0, 1). */
  readonly share: () => number;

  constructor(seed: number) {
    this.share = random(seed);
  }

  /** A whole number from 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor(this.share() * count);
  }

  chance(probability: number): boolean {
    return this.share() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }
}

/** Where programs tend to go wrong. */
export const NUMBERS: readonly bigint[] = [
  0n,
  1n,
  2n,
  3n,
  7n,
  8n,
  31n,
  32n,
  33n,
  63n,
  64n,
  127n,
  128n,
  255n,
  256n,
  65535n,
  65536n,
  ...[31n, 32n, 33n, 40n, 52n, 53n, 60n, 61n, 62n, 63n, 64n].flatMap((power) => [2n ** power - 1n, 2n ** power]),
  -1n,
  -2n,
  -(2n ** 31n),
  -(2n ** 63n),
];
