import vm from 'node:vm';
import { LowRankError } from '../errors.js';

/** Milliseconds that the patterns of one question may take, and more for each name. Usual ones take microseconds. */
const MOST_TIME = 500;
const MORE_TIME = 0.05;

/** Without repetition, choice or groups there is nothing that could be tried again and again. */
const SIMPLE = /^[^*+?{(|]*$/;
const SHORT = 1000;

const script = new vm.Script('names.map((name) => patterns.findIndex((pattern) => pattern.test(name)))');

/**
 * For each name the first pattern that matches it, -1 where none does. Patterns and names come from files of strangers, and
 * a pattern such as `(a+)+b` can keep a regular expression busy for years, so the search is ended from outside after a time.
 *
 * @throws {@link LowRankError} `ERR_ARGUMENT` when the patterns take too long.
 */
export function firstMatches(patterns: readonly RegExp[], names: readonly string[]): number[] {
  const context = vm.createContext({ patterns, names });
  try {
    return script.runInContext(context, { timeout: Math.ceil(MOST_TIME + names.length * MORE_TIME) }) as number[];
  } catch (cause) {
    if ((cause as { code?: string }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw cause;
    throw new LowRankError('ERR_ARGUMENT', 'the pattern takes too long: it tries the same letters again and again', {
      hint: 'Write it without one repetition inside another.',
      cause,
    });
  }
}

/** Whether the source of a regular expression is so simple that it needs no watch, on a name of this length. */
export function isSimple(source: string, name: string): boolean {
  return name.length <= SHORT && SIMPLE.test(source);
}
