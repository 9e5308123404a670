import type { ScoreRequest } from './engine.js';
import type { OnTokens } from './token-progress.js';

/** The fewest tokens that are kept for the next request: fewer are not worth the call. */
const LEAST_KEPT = 8;

/**
 * Returns how many tokens of a request may stay from those that are present: none that is read.
 */
export function commonStart(present: readonly number[], { tokens, reads }: ScoreRequest): number {
  const end = Math.min(present.length, ...reads.map(({ position }) => position));
  let common = 0;
  while (common < end && present[common] === tokens[common]) common++;
  return common < LEAST_KEPT ? 0 : common;
}

/**
 * Returns how many tokens of requests a model has to run.
 *
 * @param keepsStart whether it keeps what a request shares with the one before it
 */
export function tokensToRun(requests: readonly ScoreRequest[], keepsStart: boolean): number {
  return requests.reduce((sum, request, i) => {
    const kept = keepsStart ? commonStart(requests[i - 1]?.tokens ?? [], request) : 0;
    return sum + request.tokens.length - kept;
  }, 0);
}

/** What there is to do for a list of questions. */
export interface TokenWork {
  /** The tokens to run before anything is generated. */
  readonly given: number;
  /** The number of prompts after which an answer is generated, and the sum of their tokens. */
  readonly generations: { readonly prompts: number; readonly tokens: number };
  readonly keepsStart: boolean;
}

/**
 * Estimates the time that is left from the tokens of what is left. Tokens that are given run
 * together and generated ones one after the other, so each kind is timed by itself. How many tokens
 * a question will generate is unknown: the mean of those before it is expected.
 */
export class TokenClock {
  readonly #work: TokenWork;
  readonly #onTokens: OnTokens;
  #done = 0;
  #seconds = 0;
  /** Of finished generations: how many, their prompts' tokens, and the tokens that they made. */
  #finished = 0;
  #prompts = 0;
  #made = 0;
  /** Of all: tokens that were made, tokens that ran for them, and how long that took. */
  #generated = 0;
  #generating = 0;
  /** The tokens that ran for the one that is not finished. */
  #current = 0;
  #generatingSeconds = 0;

  constructor(work: TokenWork, onTokens: OnTokens) {
    this.#work = work;
    this.#onTokens = onTokens;
  }

  /** Reports given tokens that ran since the last call. */
  ran(tokens: number, seconds: number): void {
    // What requests share may be kept a little differently than was expected.
    this.#done = Math.min(this.#work.given, this.#done + tokens);
    this.#seconds += seconds;
    this.#report();
  }

  /** Reports one more token of a generation, and how many tokens ran for it. */
  generated(ran: number, seconds: number): void {
    this.#generated++;
    this.#generating += ran;
    this.#current += ran;
    this.#generatingSeconds += seconds;
    this.#report();
  }

  /** Reports that the generation after a prompt is at its end. */
  endGeneration(prompt: number, made: number): void {
    this.#finished++;
    this.#prompts += prompt;
    this.#made += made;
    this.#current = 0;
  }

  #report(): void {
    const { given: total } = this.#work;
    const remainingSeconds = this.#remaining();
    this.#onTokens({ done: this.#done, total, generated: this.#generated, remainingSeconds });
  }

  #remaining(): number | undefined {
    const { given, generations, keepsStart } = this.#work;
    const running = this.#done === 0 ? undefined : (this.#seconds * (given - this.#done)) / this.#done;
    if (this.#finished === generations.prompts) return running;
    if (this.#finished === 0 || running === undefined) return undefined;
    const each = this.#made / this.#finished;
    const prompts = generations.tokens - this.#prompts;
    const count = generations.prompts - this.#finished;
    const left = keepsStart ? prompts + count * each : each * prompts + (count * each * (each - 1)) / 2;
    return running + (this.#generatingSeconds * Math.max(0, left - this.#current)) / this.#generating;
  }
}
