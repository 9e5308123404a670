import { ArgumentError } from '../../errors.js';
import { checkOptions, number, type OptionTypes, wholeNumber } from '../../options.js';
import { shuffled } from '../../random.js';
import type { Question } from './question.js';

export const SPLITS = ['validation', 'test', 'all'] as const;
export type Split = (typeof SPLITS)[number];

/** LASER selects interventions on the first fifth of the questions and reports the rest. */
const VALIDATION_SHARE = 0.2;

export interface SplitOptions {
  /** Shuffles before dividing; by default the order of the file is kept, as in LASER. */
  readonly seed?: number;
  /** The share of the questions for validation; 0.2 by default, as in LASER. */
  readonly validation?: number;
}

const SPLIT_OPTIONS: OptionTypes<SplitOptions> = { seed: wholeNumber(0), validation: number };

/**
 * Returns a part of a set: `validation` is the first fifth (rounded down), `test` the rest. The
 * same options always give the same parts, and they never share a question.
 *
 * @throws {@link ArgumentError} for an unknown split or a share outside [0, 1].
 */
export function splitQuestions(
  questions: readonly Question[],
  split: Split,
  options?: SplitOptions,
): readonly Question[] {
  const { seed, validation = VALIDATION_SHARE } = checkOptions(options, SPLIT_OPTIONS, 'splitQuestions');
  if (!Array.isArray(questions)) throw new ArgumentError('questions', 'an array of questions', questions);
  if (!SPLITS.includes(split)) throw new ArgumentError('split', SPLITS.join(', '), split);
  if (!(validation >= 0 && validation <= 1)) throw new ArgumentError('validation', 'a share from 0 to 1', validation);
  const list = seed === undefined ? questions : shuffled(questions, seed);
  if (split === 'all') return list;
  const end = Math.floor(validation * list.length);
  return split === 'validation' ? list.slice(0, end) : list.slice(end);
}
