import { discordance, type Interval, shareInterval, signTest } from '../evaluate/metrics/proportion.js';
import type { Score, Trial } from './log-lines.js';

/** A difference is taken for chance if one as large is at least this likely without any. */
const LEVEL = 0.05;

/** How sure it is that two models differ in accuracy. */
export interface Significance {
  /** The probability of a difference at least this large if there is none; 0 to 1. */
  readonly p: number;
  readonly isSignificant: boolean;
}

/**
 * Compares the answers of two trials to the same questions by an exact sign test. If the trial was
 * chosen as the best of several, the probability is multiplied by their number (Bonferroni).
 *
 * @param tries the number of trials among which it was chosen
 * @returns undefined if the engine does not report answers one by one
 */
export function significanceOf(
  own: Pick<Trial, 'outcomes'>,
  other: Pick<Trial, 'outcomes'>,
  tries = 1,
): Significance | undefined {
  if (!/[01]/.test(own.outcomes) || !/[01]/.test(other.outcomes)) return undefined;
  const p = Math.min(1, tries * signTest(discordance(own.outcomes, other.outcomes)));
  return { p, isSignificant: p < LEVEL };
}

/** Returns the 95 % interval of an accuracy; undefined if there is none. */
export function accuracyInterval({ accuracy, questions }: Score): Interval | undefined {
  // A log may state any number.
  if (accuracy === undefined || !(accuracy >= 0 && accuracy <= 1)) return undefined;
  return shareInterval(Math.round(accuracy * questions), questions);
}
