import vm from 'node:vm';
import { LowRankError } from '../errors.js';

/**
 * Milliseconds that matching may take, and more for each name. Usual patterns take microseconds.
 */
const MOST_TIME = 500;
const MORE_TIME = 0.05;

/** Without repetition, choice or groups a pattern cannot backtrack. */
const SIMPLE = /^[^*+?{(|]*$/;
const SHORT = 1000;

const script = new vm.Script('names.map((name) => patterns.findIndex((pattern) => pattern.test(name)))');

/**
 * Returns, for each name, the index of the first pattern that matches it, or -1. Patterns and names
 * come from untrusted files, and a pattern such as `(a+)+b` can keep a regular expression busy for
 * years, so a timeout ends the search.
 *
 * @throws {@link LowRankError} `ERR_ARGUMENT` if the patterns take too long.
 */
export function firstMatches(patterns: readonly RegExp[], names: readonly string[]): number[] {
  const context = vm.createContext({ patterns, names });
  try {
    return script.runInContext(context, { timeout: Math.ceil(MOST_TIME + names.length * MORE_TIME) }) as number[];
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw cause;
    throw new LowRankError('ERR_ARGUMENT', 'the pattern takes too long: it backtracks excessively', {
      hint: 'Avoid nested repetition.',
      cause,
    });
  }
}

/**
 * Whether the source of a regular expression is so simple that it needs no timeout for a name of
 * this length.
 */
export function isSimple(source: string, name: string): boolean {
  return name.length <= SHORT && SIMPLE.test(source);
}
