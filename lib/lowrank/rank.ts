import { ArgumentError } from '../errors.js';
import { number, type OptionTypes } from '../options.js';

/** How the rank k of an approximation is chosen: exactly one of the four. */
export type RankChoice =
  /** k itself, 0 to min(m, n). */
  | { readonly rank: number }
  /**
   * k = floor(rankFraction * min(m, n)), computed on the decimal that was written; 0 to 1. LASER's
   * rho.
   */
  | { readonly rankFraction: number }
  /**
   * The smallest k whose singular values hold this share of the energy (the sum of their squares);
   * 0 to 1.
   */
  | { readonly energy: number }
  /** The smallest k with a relative error |W - W_k|_F / |W|_F of at most this; at least 0. */
  | { readonly tolerance: number };

export const RANK_CHOICE: OptionTypes<RankChoice> = {
  rank: number,
  rankFraction: number,
  energy: number,
  tolerance: number,
};
const CHOICES = Object.keys(RANK_CHOICE);

/**
 * floor(rho * n), computed on the decimal that `rho` was written as: 0.29 of 100 is 29, though 0.29
 * * 100 is 28.999999999999996 in binary floating point.
 *
 * @throws ArgumentError when `rho` is outside [0, 1].
 */
export function rankOfFraction(rho: number, n: number): number {
  if (typeof rho !== 'number' || !(rho >= 0 && rho <= 1)) {
    throw new ArgumentError('rankFraction', 'a number from 0 to 1', rho);
  }
  requireSize('n', n);
  const [numerator, denominator] = decimal(rho);
  return Number((numerator * BigInt(n)) / denominator);
}

/**
 * A number as the decimal that was written: the shortest that reads back as it, as a fraction of
 * whole numbers.
 */
function decimal(value: number): [numerator: bigint, denominator: bigint] {
  const [mantissa = '0', exponent = '0'] = String(value).split('e');
  const [whole = '0', fraction = ''] = mantissa.split('.');
  const scale = fraction.length - Number(exponent);
  const digits = BigInt(whole + fraction);
  return scale < 0 ? [digits * 10n ** BigInt(-scale), 1n] : [digits, 10n ** BigInt(scale)];
}

/** A share of the energy to twice the precision of a number: `tail + tailRest`. */
export interface Tail {
  readonly tail: number;
  readonly tailRest: number;
}

/** numerator / denominator, at least 0 and at most 1. */
function share(numerator: bigint, denominator: bigint): Tail {
  if (numerator <= 0n) return { tail: 0, tailRest: 0 };
  if (numerator >= denominator) return { tail: 1, tailRest: 0 };
  const bits = 1000n;
  const scaled = (numerator << bits) / denominator;
  const unit = 2 ** -Number(bits);
  const tail = Number(scaled) * unit;
  return { tail, tailRest: Number(scaled - BigInt(tail / unit)) * unit };
}

/**
 * The rank that LASER's own code keeps for a `rate` of 0 (all) to 10 (nothing), to the last bit of
 * its floating point: int(n * ((10 - rate) * 0.1)), so 4096 at 9.9 is 40 and 1000 at 9.9 is 9.
 *
 * @throws ArgumentError when `rate` is outside [0, 10].
 */
export function rankOfRate(rate: number, n: number): number {
  if (typeof rate !== 'number' || !(rate >= 0 && rate <= 10))
    throw new ArgumentError('rate', 'a number from 0 to 10', rate);
  requireSize('n', n);
  return Math.trunc(n * ((10 - rate) * 0.1));
}

/**
 * The share of the energy that may go, 1 - energy, computed on the decimal that was written: 0.9
 * leaves exactly 1/10.
 */
export function tailOfEnergy(energy: number): Tail {
  const [numerator, denominator] = decimal(energy);
  return share(denominator - numerator, denominator);
}

/**
 * The share of the energy that a relative error stands for: its square, computed on the decimal
 * that was written.
 */
function tailOfTolerance(tolerance: number): Tail {
  if (tolerance >= 1) return { tail: 1, tailRest: 0 };
  const [numerator, denominator] = decimal(tolerance);
  return share(numerator * numerator, denominator * denominator);
}

/**
 * The rank at which factors hold as many numbers as the matrix: above it, factors are larger. mn /
 * (m + n).
 */
export function breakEvenRank(m: number, n: number): number {
  requireSize('m', m);
  requireSize('n', n);
  if (m + n === 0) return 0;
  return Math.floor((m * n) / (m + n));
}

/** @throws ArgumentError unless `size` is a whole number of at least 0. */
export function requireSize(name: string, size: number): void {
  if (!Number.isSafeInteger(size) || size < 0) throw new ArgumentError(name, 'a whole number of at least 0', size);
}

/** Reads a choice for m x n matrices, as the addon takes it. */
export function rankJob(choice: RankChoice, m: number, n: number): { rank?: number } & Partial<Tail> {
  const given = CHOICES.filter((name) => (choice as Record<string, unknown>)[name] !== undefined);
  if (given.length !== 1) {
    throw new ArgumentError('options', `exactly one of ${CHOICES.join(', ')}`, given.length === 0 ? 'none' : given);
  }
  const smaller = Math.min(m, n);
  if ('rank' in choice && choice.rank !== undefined) {
    if (!Number.isSafeInteger(choice.rank) || choice.rank < 0 || choice.rank > smaller) {
      throw new ArgumentError(
        'rank',
        `a whole number from 0 to ${smaller}, the smaller side of [${m}, ${n}]`,
        choice.rank,
      );
    }
    return { rank: choice.rank };
  }
  if ('rankFraction' in choice && choice.rankFraction !== undefined) {
    return { rank: rankOfFraction(choice.rankFraction, smaller) };
  }
  if ('energy' in choice && choice.energy !== undefined) {
    if (!(choice.energy >= 0 && choice.energy <= 1))
      throw new ArgumentError('energy', 'a number from 0 to 1', choice.energy);
    return tailOfEnergy(choice.energy);
  }
  const { tolerance } = choice as { tolerance: number };
  if (!(tolerance >= 0)) throw new ArgumentError('tolerance', 'a number of at least 0', tolerance);
  return tailOfTolerance(tolerance);
}
