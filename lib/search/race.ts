import { ArgumentError } from '../errors.js';
import { discordance, fairCoin } from '../evaluate/metrics/proportion.js';
import { shuffled } from '../random.js';
import type { Verdict } from './log-lines.js';

export interface EarlyStoppingOptions {
  /**
   * The probability that, in the whole search, any candidate is stopped that would have been at
   * least as accurate as its rival on all validation questions; 0.05 by default.
   */
  readonly error?: number;
  /**
   * The number of questions before the first look; each next look comes after twice as many. 32 by
   * default.
   */
  readonly first?: number;
}

/**
 * Decides on a growing sample of questions whether a candidate can still win.
 *
 * Every trial asks the validation questions in a random order of its own and is compared with its
 * rival, the best so far, whose answers to all of them are known. Only the questions on which the
 * two differ say anything: `plus` that the candidate alone got right, `minus` that the rival alone
 * got right. The trial ends as hopeless when
 *
 *     P(X <= plus) <= error / (trials looks),   X binomial with plus + minus tosses of a fair coin.
 *
 * That is the sign test (Arbuthnot 1710; for paired answers McNemar 1947), and it is exact here,
 * for a fixed set of questions and whatever was seen before:
 *
 * 1. When a trial begins, its candidate and its rival are fixed, and so are their answers to all N
 *    questions, known or not. The order is drawn then, independently of everything before. So which
 *    questions come first is a simple random sample without replacement, also given all that led to
 *    this pair: that a rival was chosen because it did well on these same questions does not
 *    matter.
 * 2. Let A of the N questions be right for the candidate alone and B for the rival alone, and A >=
 *    B: the candidate is no worse. Given plus + minus = D, `plus` is hypergeometric, D drawn from A
 *    + B of which A count. This grows stochastically with A, so A = B is the worst case. There,
 *    below its middle, the hypergeometric distribution function lies below the binomial one of the
 *    same mean (Uhlmann 1966). So the rule holds for each look.
 * 3. Looks are fixed beforehand: first, 2 first, 4 first, ... The error is divided by their number
 *    and by that of all trials that the search may make (Bonferroni), so looking often and trying
 *    much do not add up to more than `error`.
 *
 * A candidate that ties with its rival is never stopped on purpose, since log loss decides between
 * the two. Where the questions that are left cannot make up for what was lost, the trial ends
 * without any probability: `behind`.
 */
export class Race {
  /**
   * The numbers of questions after which there is a look; the last is the number of all questions.
   */
  readonly rounds: readonly number[];
  readonly #threshold: number;
  readonly #questions: number;
  readonly #seed: number;

  /**
   * @param questions the number of validation questions
   * @param trials the most trials that the search may make
   * @param seed of the orders
   */
  constructor(
    questions: number,
    trials: number,
    seed: number,
    { error = 0.05, first = 32 }: EarlyStoppingOptions | undefined = {},
    enabled = true,
  ) {
    if (!(error > 0 && error < 0.5))
      throw new ArgumentError('earlyStopping.error', 'a number between 0 and 0.5', error);
    if (!Number.isSafeInteger(first) || first < 1) {
      throw new ArgumentError('earlyStopping.first', 'a whole number of at least 1', first);
    }
    const looks: number[] = [];
    if (enabled) for (let size = first; size < questions; size *= 2) looks.push(size);
    this.rounds = [...looks, questions];
    this.#threshold = error / Math.max(1, looks.length * trials);
    this.#questions = questions;
    this.#seed = seed;
  }

  /** Returns the order in which a trial asks, as indexes in the set. */
  order(trial: number): readonly number[] {
    const places = Array.from({ length: this.#questions }, (_, i) => i);
    // Seeds that differ by little must not meet those of a search with the next seed.
    return shuffled(places, (Math.imul(this.#seed, 0x9e3779b1) + Math.imul(trial + 1, 0x85ebca6b)) >>> 0);
  }

  /**
   * Judges the answers so far; returns undefined to continue. Outcomes are `1`, `0` and `-` in the
   * order of the set.
   */
  verdict(own: readonly string[], rival: string): Verdict | undefined {
    if (isBehind(own, rival)) return 'behind';
    const { plus, minus } = discordance(own, rival);
    return fairCoin(plus, plus + minus) <= this.#threshold ? 'hopeless' : undefined;
  }
}

/** Whether answers cannot be as often right as those of a rival, even if all that are open are. */
export function isBehind(own: readonly string[], rival: string): boolean {
  let [possible, needed] = [0, 0];
  for (let i = 0; i < own.length; i++) {
    if (own[i] !== '0') possible++;
    if (rival[i] === '1') needed++;
  }
  return possible < needed;
}
