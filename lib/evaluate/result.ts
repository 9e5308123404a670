import type { Question } from './questions/question.js';

/** A token that the model finds likely, and how likely. */
export interface LikelyToken {
  readonly text: string;
  /** Natural logarithm. */
  readonly logProb: number;
}

/** What a model made of one question. What an engine or a program does not tell is undefined. */
export interface ExampleResult {
  /** The question's. */
  readonly id: number;
  readonly kind: Question['kind'];
  readonly prompt: string;
  readonly answer: string | undefined;
  /** Of a choice: the right one is the likeliest. Else: the greedy reply begins with the answer or, where generated, holds it. */
  readonly correct: boolean | undefined;
  /** The choice or text that the model prefers. */
  readonly prediction: string | undefined;
  /** Of each choice, summed over its tokens, natural logarithm. */
  readonly choiceLogProbs: readonly number[] | undefined;
  /** Of the answer, or of a text: summed over its tokens, natural logarithm. */
  readonly answerLogProb: number | undefined;
  /** How many tokens that is. */
  readonly answerTokens: number | undefined;
  /** The likeliest tokens after the prompt, the likeliest first. */
  readonly top: readonly LikelyToken[] | undefined;
  /** The place of the answer's first token among all, from 0; undefined where it is beyond those in `top`. */
  readonly rank: number | undefined;
  /** Greedy, without the prompt, whatever `compat` says. */
  readonly generation: string | undefined;
  readonly exactMatch: boolean | undefined;
  readonly f1: number | undefined;
}
