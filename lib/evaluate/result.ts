import type { Question } from './questions/question.js';

/** A token that the model finds likely, and its probability. */
export interface LikelyToken {
  readonly text: string;
  /** Natural logarithm. */
  readonly logProb: number;
}

/**
 * The result of a model on one question. Values that an engine or a program does not report are
 * undefined.
 */
export interface ExampleResult {
  /** The id of the question. */
  readonly id: number;
  readonly kind: Question['kind'];
  readonly prompt: string;
  readonly answer: string | undefined;
  /**
   * For a choice: whether the right one is the likeliest. Otherwise: whether the greedy reply
   * starts with the answer or, if generated, contains it.
   */
  readonly correct: boolean | undefined;
  /** The choice or text that the model prefers. */
  readonly prediction: string | undefined;
  /** The log-probability of each choice, summed over its tokens, natural logarithm. */
  readonly choiceLogProbs: readonly number[] | undefined;
  /** The log-probability of the answer or text, summed over its tokens, natural logarithm. */
  readonly answerLogProb: number | undefined;
  /** The number of these tokens. */
  readonly answerTokens: number | undefined;
  /** The likeliest tokens after the prompt, likeliest first. */
  readonly top: readonly LikelyToken[] | undefined;
  /**
   * The position of the answer's first token among all tokens by likelihood, from 0; undefined if
   * it is not in `top`.
   */
  readonly rank: number | undefined;
  /** Greedy, without the prompt, whatever `compat` is. */
  readonly generation: string | undefined;
  readonly exactMatch: boolean | undefined;
  readonly f1: number | undefined;
}
