import { ArgumentError } from '../errors.js';
import { tailOfEnergy } from '../lowrank/rank.js';
import { number, type OptionTypes } from '../options.js';
import type { PeftFactors } from './adapter.js';
import { type ProductSvd, productSvd } from './product-svd.js';

/**
 * How to choose the rank of an update: exactly one of the three. The rank is at least 1, as PEFT
 * does not support rank 0.
 */
export type LoraRankChoice =
  /** The largest rank of a module; one of a smaller rank keeps its own. */
  | { readonly rank: number }
  /**
   * The smallest rank that keeps this share of the sum of squared singular values, above 0 up to 1.
   */
  | { readonly energy: number }
  /** Keeps the singular values of at least this share of the largest one, above 0 up to 1. */
  | { readonly ratio: number };

export const LORA_RANK_CHOICE: OptionTypes<LoraRankChoice> = { rank: number, energy: number, ratio: number };

/** The best approximation of a product, of a smaller rank. */
export interface TruncatedProduct extends PeftFactors {
  readonly rank: number;
  /** All singular values of the product, descending. */
  readonly singularValues: Float64Array;
  /** The share of the sum of their squares that was kept; 1 for a zero update. */
  readonly keptEnergy: number;
}

/** Sums of squares below this share of the whole are rounding, not energy. */
const ROUNDING = 2 ** -96;

/**
 * Checks a choice.
 *
 * @throws ArgumentError unless exactly one of the three is given, and in its range.
 */
export function checkChoice(choice: LoraRankChoice): void {
  const fields = ['rank', 'energy', 'ratio'] as const;
  const given = fields.filter((field) => (choice as Record<string, unknown>)[field] !== undefined);
  if (given.length !== 1) {
    throw new ArgumentError('options', `exactly one of ${fields.join(', ')}`, given.length === 0 ? 'none' : given);
  }
  const value = (choice as Record<string, unknown>)[given[0]!];
  if (given[0] === 'rank') {
    if (!Number.isSafeInteger(value) || (value as number) < 1) {
      throw new ArgumentError('rank', 'a whole number of at least 1', value);
    }
  } else if (typeof value !== 'number' || !(value > 0 && value <= 1)) {
    throw new ArgumentError(given[0]!, 'a number above 0, up to 1', value);
  }
}

/**
 * Computes the best approximation of `factor * B A` of the chosen rank (Eckart and Young 1936). Its
 * singular values are split evenly between the factors, so that neither is large where the other is
 * small.
 */
export function truncateProduct(factors: PeftFactors, factor: number, choice: LoraRankChoice): TruncatedProduct {
  const { u, s, v } = productSvd(factors, (values) => chooseRank(values, choice));
  const rank = u.length;
  const root = Array.from({ length: rank }, (_, i) => Math.sqrt(s[i]! * Math.abs(factor)));
  const [out, width] = [factors.b.shape[0]!, factors.a.shape[1]!];
  const b = new Float32Array(out * rank);
  const a = new Float32Array(rank * width);
  for (let k = 0; k < rank; k++) {
    const sign = factor < 0 ? -root[k]! : root[k]!;
    for (let i = 0; i < out; i++) b[i * rank + k] = u[k]![i]! * sign;
    for (let j = 0; j < width; j++) a[k * width + j] = v[k]![j]! * root[k]!;
  }
  const total = energy(s);
  return {
    rank,
    singularValues: s.map((value) => value * Math.abs(factor)),
    keptEnergy: total === 0 ? 1 : 1 - energy(s.subarray(rank)) / total,
    b: { data: b, shape: [out, rank] },
    a: { data: a, shape: [rank, width] },
  };
}

/** Returns how many of the descending singular values a choice keeps. */
export function chooseRank(s: ProductSvd['s'], choice: LoraRankChoice): number {
  const most = Math.max(s.length, 1);
  if ('rank' in choice && choice.rank !== undefined) return Math.min(choice.rank, most);
  if ('ratio' in choice && choice.ratio !== undefined) {
    const below = s.findIndex((value) => value < choice.ratio * s[0]!);
    return below < 0 ? most : Math.max(below, 1);
  }
  const { energy: share } = choice as { energy: number };
  const total = energy(s);
  const allowed = total * Math.max(tailOfEnergy(share).tail, ROUNDING);
  // Sum from the small end, where sums lose no digits.
  let rank = s.length;
  let dropped = 0;
  while (rank > 1) {
    dropped += s[rank - 1]! ** 2;
    if (dropped > allowed) break;
    rank--;
  }
  return Math.max(rank, 1);
}

function energy(s: Float64Array): number {
  return s.reduceRight((sum, value) => sum + value ** 2, 0);
}
