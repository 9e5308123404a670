/** The ranks that a matrix may be cut to, and what each costs. Pure: numbers in, choices out. */

/**
 * How the factors of a matrix are stored: two of them, or one and the coefficients of the rows that
 * are not pivots.
 */
export type Storage = 'factors' | 'pivoted';

/**
 * Returns how many numbers factors of rank k of an m x n matrix hold. Pivoted, k of the m rows are
 * those of the identity.
 */
export function parametersOf(m: number, n: number, rank: number, storage: Storage): number {
  return rank * (m + n - (storage === 'pivoted' ? rank : 0));
}

/**
 * The relative loss at every rank from 0 to the number of singular values: the share of the energy
 * beyond it, summed from the small end.
 *
 * @internal
 */
export function lossCurve(singularValues: ArrayLike<number>): Float64Array {
  const losses = new Float64Array(singularValues.length + 1);
  for (let i = singularValues.length; i-- > 0; ) losses[i] = losses[i + 1]! + singularValues[i]! ** 2;
  const energy = losses[0]!;
  return energy > 0 ? losses.map((loss) => loss / energy) : losses;
}

/** A rank, and the share of the outputs' mean square that is lost. */
interface RankLoss {
  readonly rank: number;
  readonly loss: number;
}

/**
 * The loss below which there is nothing but the rounding of float32: further factors would depend
 * on each other.
 */
const ROUNDING = 1e-12;

/** Kernels, and blocks of quantised numbers, like ranks that are multiples of it. */
const MULTIPLE = 8;

/**
 * Returns the ranks at which factors of an m x n matrix hold fewer numbers than the matrix, up to
 * the first that loses nothing but rounding.
 *
 * @param singularValues weighted, descending; those that are missing are 0
 */
export function ranksFor(
  { m, n }: { readonly m: number; readonly n: number },
  singularValues: ArrayLike<number>,
  storage: Storage,
): RankLoss[] {
  const losses = lossCurve(singularValues);
  const choices: RankLoss[] = [];
  for (let rank = MULTIPLE; rank <= Math.min(m, n); rank += MULTIPLE) {
    if (parametersOf(m, n, rank, storage) >= m * n) break;
    const loss = losses[rank] ?? 0;
    choices.push({ rank, loss });
    if (loss < ROUNDING) break;
  }
  return choices;
}
