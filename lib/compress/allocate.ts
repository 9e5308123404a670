/** The ranks of all matrices of a model, chosen together under one budget. Pure: numbers in, ranks out. */

import { ArgumentError, describe, LowRankError } from '../errors.js';

/** How the factors of a matrix are stored: two of them, or one and the coefficients of the rows that are not pivots. */
export type Storage = 'factors' | 'pivoted';

/** A matrix that may be factored, and what is known of it. */
export interface Candidate {
  readonly name: string;
  readonly m: number;
  readonly n: number;
  /** The weighted singular values, descending; those that are missing are 0. One decomposition has the loss at every rank. */
  readonly singularValues: ArrayLike<number>;
  /** What its relative loss counts for among the others, 1 by default; a measured sensitivity. */
  readonly weight?: number;
}

export interface AllocateOptions {
  /** Numbers that all matrices together may hold. */
  readonly budget: number;
  /** `factors` by default. */
  readonly storage?: Storage;
  /** Ranks are multiples of it, as kernels and blocks of quantised numbers like them: 8 by default. */
  readonly multiple?: number;
}

/** What becomes of a matrix. */
export interface Allotted {
  readonly name: string;
  /** Undefined where it stays dense. */
  readonly rank: number | undefined;
  /** The numbers that it holds then. */
  readonly parameters: number;
  /** The share of its outputs' mean square that is lost: sum_(i > rank) s_i^2 / sum s_i^2; 0 where it stays dense. */
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
 * The relative loss at every rank from 0 to the number of singular values: the share of the energy beyond it, summed from
 * the small end.
 */
export function lossCurve(singularValues: ArrayLike<number>): Float64Array {
  const losses = new Float64Array(singularValues.length + 1);
  for (let i = singularValues.length; i-- > 0; ) losses[i] = losses[i + 1]! + singularValues[i]! ** 2;
  const energy = losses[0]!;
  return energy > 0 ? losses.map((loss) => loss / energy) : losses;
}

/** One thing that may become of a matrix. */
interface Choice {
  readonly rank: number | undefined;
  readonly parameters: number;
  readonly loss: number;
}

/**
 * Chooses for every matrix a rank, or that it stays dense, so that the weighted sum of relative losses is small and all
 * fit into the budget.
 *
 * A Lagrange multiplier prices a number; at each price every matrix takes its best choice, and the lowest price whose
 * choices fit is found by bisection (Everett 1963): the choices are the best of all that take as few numbers. Exchanges
 * between two matrices then use what the budget leaves.
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
  const least = total(menus.map((menu) => menu[0]!));
  if (least > budget) {
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      `a budget of ${describe(Math.floor(budget))} numbers: even at the smallest ranks the matrices hold ${least}`,
      { hint: 'Allow more, or let fewer matrices stay as they are.' },
    );
  }
  const chosen = improve(menus, atPrice(menus, lowestPrice(menus, budget)), budget);
  const matrices = candidates.map(({ name, singularValues }, i) => {
    const { rank, parameters } = chosen[i]!;
    return { name, rank, parameters, loss: rank === undefined ? 0 : (lossCurve(singularValues)[rank] ?? 0) };
  });
  return {
    matrices,
    parameters: total(chosen),
    loss: chosen.reduce((sum, { loss }) => sum + loss, 0),
  };
}

/** The choices that no other beats: each holds more numbers and loses less than the one before; the last loses nothing. */
function menuOf({ name, m, n, singularValues, weight = 1 }: Candidate, storage: Storage, multiple: number): Choice[] {
  if (!(weight >= 0 && weight < Number.POSITIVE_INFINITY)) {
    throw new ArgumentError(`weight of ${name}`, 'a number of at least 0', weight);
  }
  const losses = lossCurve(singularValues);
  const menu: Choice[] = [];
  for (let rank = multiple; rank <= Math.min(m, n); rank += multiple) {
    const parameters = parametersOf(m, n, rank, storage);
    if (parameters >= m * n) break;
    menu.push({ rank, parameters, loss: weight * (losses[rank] ?? 0) });
  }
  menu.push({ rank: undefined, parameters: m * n, loss: 0 });
  // A rank beyond which nothing is lost ends the useful ones, but dense takes no decomposition on trust.
  return menu.filter((choice, i) => i === 0 || choice.rank === undefined || choice.loss < menu[i - 1]!.loss);
}

function total(choices: readonly Choice[]): number {
  return choices.reduce((sum, { parameters }) => sum + parameters, 0);
}

/** What every matrix takes where a number costs `price`: of equal ones, that with fewer numbers. */
function atPrice(menus: readonly (readonly Choice[])[], price: number): Choice[] {
  const cost = ({ loss, parameters }: Choice) => loss + price * parameters;
  return menus.map((menu) => menu.reduce((best, choice) => (cost(choice) < cost(best) ? choice : best)));
}

/** Bits of a price: far more than the ratio of any two losses has. */
const BISECTIONS = 200;

/** The lowest price whose choices fit into the budget. */
function lowestPrice(menus: readonly (readonly Choice[])[], budget: number): number {
  if (total(atPrice(menus, 0)) <= budget) return 0;
  let [low, high] = [1e-300, 1e300];
  for (let i = 0; i < BISECTIONS && low < high; i++) {
    const price = Math.sqrt(low) * Math.sqrt(high);
    if (total(atPrice(menus, price)) > budget) low = price;
    else high = price;
  }
  return high;
}

/**
 * Between the choices of two prices lie others that fit better, and dense is a long step from the last rank: one matrix is
 * given more, from what is left or from what another can spare, as long as that lowers the loss of all.
 */
function improve(menus: readonly (readonly Choice[])[], start: readonly Choice[], budget: number): Choice[] {
  const chosen = [...start];
  for (;;) {
    const left = budget - total(chosen);
    let best: { gain: number; changes: (readonly [index: number, choice: Choice])[] } | undefined;
    const consider = (gain: number, ...changes: (readonly [number, Choice])[]) => {
      if (gain > (best?.gain ?? 0)) best = { gain, changes };
    };
    for (const [i, menu] of menus.entries()) {
      for (const more of menu) {
        const gain = chosen[i]!.loss - more.loss;
        const lacking = more.parameters - chosen[i]!.parameters - left;
        if (gain <= 0) continue;
        if (lacking <= 0) {
          consider(gain, [i, more]);
          continue;
        }
        for (const [j, other] of menus.entries()) {
          const now = chosen[j]!;
          const less = j === i ? undefined : largestWithin(other, now.parameters - lacking);
          if (less !== undefined) consider(gain - (less.loss - now.loss), [i, more], [j, less]);
        }
      }
    }
    // Smaller gains are rounding, which could go round in circles.
    if (best === undefined || best.gain <= 1e-12 * chosen.reduce((sum, { loss }) => sum + loss, 0)) return chosen;
    for (const [index, choice] of best.changes) chosen[index] = choice;
  }
}

/** The choice with the most numbers that holds at most `parameters` of them. */
function largestWithin(menu: readonly Choice[], parameters: number): Choice | undefined {
  let [low, high] = [0, menu.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (menu[middle]!.parameters <= parameters) low = middle + 1;
    else high = middle;
  }
  return menu[low - 1];
}
