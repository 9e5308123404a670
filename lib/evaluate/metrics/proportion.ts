import { ArgumentError } from '../../errors.js';

/** The standard normal quantile of a two-sided interval of 95 %. */
const Z = 1.959963984540054;

/** An interval around a measured value. */
export interface Interval {
  readonly low: number;
  readonly high: number;
}

/**
 * Returns the 95 % interval of a share of right answers (Wilson 1927): for any number of questions,
 * and without draws, so that it can accompany each one.
 *
 * @throws {@link ArgumentError} unless `right` and `questions` are counts.
 */
export function shareInterval(right: number, questions: number): Interval {
  const isCount = (value: number, most: number) => Number.isSafeInteger(value) && value >= 0 && value <= most;
  if (!isCount(questions, Number.POSITIVE_INFINITY)) throw new ArgumentError('questions', 'a count', questions);
  if (!isCount(right, questions)) throw new ArgumentError('right', `a count of at most ${questions}`, right);
  if (questions === 0) return { low: 0, high: 1 };
  const share = right / questions;
  const spread = Z * Math.sqrt((share * (1 - share)) / questions + (Z / (2 * questions)) ** 2);
  const middle = share + Z ** 2 / (2 * questions);
  const scale = 1 + Z ** 2 / questions;
  return { low: Math.max(0, (middle - spread) / scale), high: Math.min(1, (middle + spread) / scale) };
}

/** The questions on which one of two models alone is right. */
export interface Discordance {
  /** Right for the model alone. */
  readonly plus: number;
  /** Right for the other one alone. */
  readonly minus: number;
}

/** Compares outcomes, `1` right and `0` wrong, of the same questions; any other is not compared. */
export function discordance(own: ArrayLike<string>, other: ArrayLike<string>): Discordance {
  let [plus, minus] = [0, 0];
  for (let i = 0; i < own.length; i++) {
    if (own[i] === '1' && other[i] === '0') plus++;
    if (own[i] === '0' && other[i] === '1') minus++;
  }
  return { plus, minus };
}

/**
 * Returns the probability of a difference at least this large between two models that are equally
 * good: the exact two-sided sign test (Arbuthnot 1710; for paired answers McNemar 1947).
 */
export function signTest({ plus, minus }: Discordance): number {
  return Math.min(1, 2 * fairCoin(Math.min(plus, minus), plus + minus));
}

/** Returns the probability of at most `heads` heads in `tosses` tosses of a fair coin. */
export function fairCoin(heads: number, tosses: number): number {
  // Compute each term from the one before it, in logarithms, as 2^-tosses alone may be too small
  // for a double.
  let term = -tosses * Math.LN2;
  let sum = 0;
  for (let i = 0; i <= Math.min(heads, tosses); i++) {
    sum += Math.exp(term);
    term += Math.log((tosses - i) / (i + 1));
  }
  return Math.min(1, sum);
}
