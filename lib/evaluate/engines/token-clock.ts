import type { ScoreRequest } from './engine.js';
import { type Amount, Pace } from './pace.js';
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
  /** What runs before anything is generated. */
  readonly given: Amount;
  /** The number of prompts after which an answer is generated, and the sum of their tokens. */
  readonly generations: { readonly prompts: number; readonly tokens: number };
  readonly keepsStart: boolean;
}

/**
 * Estimates the time that is left from what is left to run. Tokens that are given run together and
 * generated ones one after the other, so each kind has a pace of its own. How many tokens a
 * question will generate is unknown: the mean of those before it is expected.
 */
export class TokenClock {
  readonly #work: TokenWork;
  readonly #onTokens: OnTokens;
  readonly #pace = new Pace();
  readonly #generatingPace = new Pace();
  /** The end of what was counted last, in milliseconds. */
  #mark = performance.now();
  #done: Amount = { tokens: 0, requests: 0 };
  /** Of finished generations: how many, their prompts' tokens, and the tokens that they made. */
  #finished = 0;
  #prompts = 0;
  #made = 0;
  #generated = 0;
  /** What ran for the generation that is not finished. */
  #current: Amount = { tokens: 0, requests: 0 };

  constructor(work: TokenWork, onTokens: OnTokens) {
    this.#work = work;
    this.#onTokens = onTokens;
  }

  /** Reports given tokens that ran, in a number of requests. */
  ran(tokens: number, requests: number): void {
    this.#pace.add({ tokens, requests }, this.#lap());
    this.#done = { tokens: this.#done.tokens + tokens, requests: this.#done.requests + requests };
    this.#report();
  }

  /** Reports one more token of a generation, for which some tokens ran. */
  generated(tokens: number): void {
    this.#generated++;
    this.#generatingPace.add({ tokens, requests: 1 }, this.#lap());
    this.#current = { tokens: this.#current.tokens + tokens, requests: this.#current.requests + 1 };
    this.#report();
  }

  /** Reports that the generation after a prompt is at its end. */
  endGeneration(prompt: number, made: number): void {
    this.#finished++;
    this.#prompts += prompt;
    this.#made += made;
    this.#current = { tokens: 0, requests: 0 };
  }

  #lap(): number {
    const now = performance.now();
    const seconds = (now - this.#mark) / 1000;
    this.#mark = now;
    return seconds;
  }

  #report(): void {
    const { tokens: total } = this.#work.given;
    // What requests share may be kept a little differently than was expected.
    const done = Math.min(total, this.#done.tokens);
    this.#onTokens({ done, total, generated: this.#generated, remainingSeconds: this.#remaining() });
  }

  #remaining(): number | undefined {
    const { given, generations } = this.#work;
    if (!this.#pace.isKnown) return undefined;
    const left = { tokens: given.tokens - this.#done.tokens, requests: given.requests - this.#done.requests };
    const running = Math.max(0, this.#pace.secondsOf(left));
    if (this.#finished === generations.prompts) return running;
    if (this.#finished === 0 || !this.#generatingPace.isKnown) return undefined;
    return running + Math.max(0, this.#generatingPace.secondsOf(this.#toGenerate()));
  }

  /** Returns what will run for generations, if they are as long as those before. */
  #toGenerate(): Amount {
    const { generations, keepsStart } = this.#work;
    const each = this.#made / this.#finished;
    const prompts = generations.tokens - this.#prompts;
    const count = generations.prompts - this.#finished;
    const tokens = keepsStart ? prompts + count * each : each * prompts + (count * each * (each - 1)) / 2;
    return { tokens: tokens - this.#current.tokens, requests: count * each - this.#current.requests };
  }
}
