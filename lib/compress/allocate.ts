/**
 * The ranks of all matrices of a model, chosen together under one budget. Pure: numbers in, ranks
 * out.
 */

import { ArgumentError, describe, LowRankError } from '../errors.js';
import { type Choice, chooseWithin, sizeOf } from './menus.js';

/**
 * How the factors of a matrix are stored: two of them, or one and the coefficients of the rows that
 * are not pivots.
 */
export type Storage = 'factors' | 'pivoted';

/** A matrix that may be factored, and what is known of it. */
export interface Candidate {
  readonly name: string;
  readonly m: number;
  readonly n: number;
  /**
   * The weighted singular values, descending; those that are missing are 0. One decomposition has
   * the loss at every rank.
   */
  readonly singularValues: ArrayLike<number>;
  /** What its relative loss counts for among the others, 1 by default; a measured sensitivity. */
  readonly weight?: number;
}

export interface AllocateOptions {
  /** Numbers that all matrices together may hold. */
  readonly budget: number;
  /** `factors` by default. */
  readonly storage?: Storage;
  /**
   * Ranks are multiples of it, as kernels and blocks of quantised numbers like them: 8 by default.
   */
  readonly multiple?: number;
}

/** What becomes of a matrix. */
export interface Allotted {
  readonly name: string;
  /** Undefined where it stays dense. */
  readonly rank: number | undefined;
  /** The numbers that it holds then. */
  readonly parameters: number;
  /**
   * The share of its outputs' mean square that is lost: sum_(i > rank) s_i^2 / sum s_i^2; 0 where
   * it stays dense.
   */
  readonly loss: number;
}

export interface Allocation {
  readonly matrices: readonly Allotted[];
  readonly parameters: number;
  /** What all matrices together lose, weighted: the figure that was minimised. */
  readonly loss: number;
}

/**
 * Returns how many numbers factors of rank k of an m x n matrix hold. Pivoted, k of the m rows are
 * those of the identity.
 *
 * @internal
 */
export function parametersOf(m: number, n: number, rank: number, storage: Storage): number {
  return rank * (m + n - (storage === 'pivoted' ? rank : 0));
}

/**
 * The relative loss at every rank from 0 to the number of singular values: the share of the energy
 * beyond it, summed from the small end.
 */
export function lossCurve(singularValues: ArrayLike<number>): Float64Array {
  const losses = new Float64Array(singularValues.length + 1);
  for (let i = singularValues.length; i-- > 0; ) losses[i] = losses[i + 1]! + singularValues[i]! ** 2;
  const energy = losses[0]!;
  return energy > 0 ? losses.map((loss) => loss / energy) : losses;
}

/** A rank, or that the matrix stays dense; its size are the numbers that it holds then. */
interface RankChoice extends Choice {
  readonly rank: number | undefined;
}

/**
 * Chooses for every matrix a rank, or that it stays dense, so that the weighted sum of relative
 * losses is small and all fit into the budget.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` where even the smallest ranks do not fit; `ERR_ARGUMENT`.
 */
export function allocate(candidates: readonly Candidate[], options: AllocateOptions): Allocation {
  const { budget, storage = 'factors', multiple = 8 } = options;
  if (!(budget >= 0)) throw new ArgumentError('budget', 'a number of at least 0', budget);
  if (!Number.isSafeInteger(multiple) || multiple < 1) {
    throw new ArgumentError('multiple', 'a whole number of at least 1', multiple);
  }
  const menus = candidates.map((candidate) => menuOf(candidate, storage, multiple));
  const chosen = chooseWithin(menus, budget);
  if (chosen === undefined) {
    const least = sizeOf(menus.map((menu) => menu[0]!));
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      `a budget of ${describe(Math.floor(budget))} numbers: even at the smallest ranks the matrices hold ${least}`,
      { hint: 'Allow more, or let fewer matrices stay as they are.' },
    );
  }
  const matrices = candidates.map(({ name, singularValues }, i) => {
    const { rank, size } = chosen[i]!;
    return { name, rank, parameters: size, loss: rank === undefined ? 0 : (lossCurve(singularValues)[rank] ?? 0) };
  });
  return {
    matrices,
    parameters: sizeOf(chosen),
    loss: chosen.reduce((sum, { loss }) => sum + loss, 0),
  };
}

/**
 * The choices that no other beats: each holds more numbers and loses less than the one before; the
 * last loses nothing.
 */
function menuOf(
  { name, m, n, singularValues, weight = 1 }: Candidate,
  storage: Storage,
  multiple: number,
): RankChoice[] {
  if (!(weight >= 0 && weight < Number.POSITIVE_INFINITY)) {
    throw new ArgumentError(`weight of ${name}`, 'a number of at least 0', weight);
  }
  const losses = lossCurve(singularValues);
  const menu: RankChoice[] = [];
  for (let rank = multiple; rank <= Math.min(m, n); rank += multiple) {
    const size = parametersOf(m, n, rank, storage);
    if (size >= m * n) break;
    menu.push({ rank, size, loss: weight * (losses[rank] ?? 0) });
  }
  menu.push({ rank: undefined, size: m * n, loss: 0 });
  // A rank beyond which nothing is lost ends the useful ones, but dense takes no decomposition on
  // trust.
  return menu.filter((choice, i) => i === 0 || choice.rank === undefined || choice.loss < menu[i - 1]!.loss);
}
