import { setImmediate } from 'node:timers/promises';
import { abortSignal, type OptionType, type OptionTypes, wholeNumber } from '../../options.js';
import { uniform } from '../../random.js';

export interface BootstrapOptions {
  /** The seed of the draws; 0 by default. The same seed gives the same interval. */
  readonly seed?: number;
  /** The number of draws; 1,000 by default. */
  readonly resamples?: number;
  /** The share of the results that the interval covers; 0.95 by default. */
  readonly level?: number;
  readonly signal?: AbortSignal;
}

const SHARE: OptionType<number> = {
  expected: 'a share above 0 and below 1',
  is: (value): value is number => typeof value === 'number' && value > 0 && value < 1,
};
export const BOOTSTRAP_OPTIONS: OptionTypes<BootstrapOptions> = {
  seed: wholeNumber(0),
  resamples: wholeNumber(1),
  level: SHARE,
  signal: abortSignal,
};

/** Examples to draw between two turns of the event loop. */
const DRAWS_AT_ONCE = 1_000_000;

/**
 * Repeatedly draws as many examples as there are, with replacement (Efron 1979), and calls
 * `statistic` with how often each was drawn. The array of counts is reused.
 */
export async function bootstrap<T>(
  count: number,
  statistic: (drawn: Uint32Array) => T,
  { seed = 0, resamples = 1000, signal }: BootstrapOptions = {},
): Promise<T[]> {
  const random = uniform(seed);
  const drawn = new Uint32Array(count);
  const results: T[] = [];
  let sinceTurn = 0;
  for (let resample = 0; resample < resamples; resample++) {
    drawn.fill(0);
    for (let i = 0; i < count; i++) drawn[Math.floor(random() * count)]!++;
    results.push(statistic(drawn));
    sinceTurn += count;
    if (sinceTurn >= DRAWS_AT_ONCE) {
      sinceTurn = 0;
      await setImmediate();
      signal?.throwIfAborted();
    }
  }
  return results;
}

/** Returns the middle `level` of the values, the percentile interval; NaN if there are none. */
export function interval(values: readonly number[], level = 0.95): { low: number; high: number } {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const quantile = (share: number) => {
    const position = share * (sorted.length - 1);
    const below = Math.floor(position);
    const [a, b] = [sorted[below], sorted[Math.min(below + 1, sorted.length - 1)]];
    if (a === undefined || b === undefined) return Number.NaN;
    // Equal neighbours may both be infinite; their difference is then NaN.
    return a === b ? a : a + (position - below) * (b - a);
  };
  return { low: quantile((1 - level) / 2), high: quantile((1 + level) / 2) };
}
