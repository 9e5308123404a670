import { callback, type OptionType } from '../../options.js';

/** How far a model is with a list of questions: finer than by questions, which may take minutes. */
export interface TokenProgress {
  /** Tokens that the model has run, and all that the questions have. */
  readonly done: number;
  readonly total: number;
  /** The number of generated tokens; 0 if nothing is generated. */
  readonly generated: number;
  /** Seconds until the last answer; undefined until there is something to estimate from. */
  readonly remainingSeconds: number | undefined;
}

export type OnTokens = (progress: TokenProgress) => void;

export const ON_TOKENS: OptionType<OnTokens> = callback as OptionType<OnTokens>;
