import { measure } from '../evaluate/metrics/summary.js';
import type { Question } from '../evaluate/questions/question.js';
import type { ExampleResult } from '../evaluate/result.js';
import type { Objective, Score, Trial } from './log-lines.js';

/** Answers of one trial, as far as they have come, at their questions' places in the set. */
export class Answers {
  readonly outcomes: string[];
  readonly losses: (readonly [loss: number, tokens: number] | null)[];
  readonly #results: (ExampleResult | undefined)[];
  /** What a program reports for the whole set, where it does not answer by question. */
  reported: Readonly<Record<string, number>> | undefined;
  #asked = 0;
  #answered = 0;

  constructor(readonly questions: number) {
    this.outcomes = new Array<string>(questions).fill('-');
    this.losses = new Array<null>(questions).fill(null);
    this.#results = new Array<undefined>(questions).fill(undefined);
  }

  put(place: number, result: ExampleResult): void {
    if (this.#results[place] === undefined) this.#answered++;
    this.#results[place] = result;
    if (result.correct !== undefined) this.outcomes[place] = result.correct ? '1' : '0';
    const { answerLogProb, answerTokens = 1 } = result;
    if (answerLogProb !== undefined) {
      const tokens = Math.max(1, answerTokens);
      this.losses[place] = [-answerLogProb / tokens, tokens];
    }
  }

  /** Says that so many more questions were asked, whether the engine answered them one by one or not. */
  count(questions: number): void {
    this.#asked += questions;
  }

  get answered(): number {
    return this.#answered;
  }

  get results(): ExampleResult[] {
    return this.#results.filter((result) => result !== undefined);
  }

  get score(): Score {
    const { results } = this;
    const value = (metric: 'accuracy' | 'logLoss' | 'perplexity') =>
      measure(results, metric) ?? (results.length === 0 ? this.reported?.[metric] : undefined);
    return {
      questions: results.length > 0 ? results.length : this.#asked,
      accuracy: value('accuracy'),
      logLoss: value('logLoss'),
      perplexity: value('perplexity'),
    };
  }
}

/** What the base scores on those questions alone that a trial has answered. */
export function baseOnSame(base: Pick<Trial, 'outcomes' | 'losses' | 'score'>, own: Answers): Omit<Score, 'questions'> {
  // A program that reports nothing but values for the whole set was asked the whole set.
  if (own.results.length === 0) return base.score;
  let [right, judged, loss, told, sum, tokens] = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < own.questions; i++) {
    if (own.outcomes[i] !== '-' && base.outcomes[i] !== '-') {
      judged++;
      if (base.outcomes[i] === '1') right++;
    }
    const ofBase = base.losses?.[i];
    if (own.losses[i] && ofBase) {
      told++;
      loss += ofBase[0];
      sum += ofBase[0] * ofBase[1];
      tokens += ofBase[1];
    }
  }
  return {
    accuracy: judged === 0 ? undefined : right / judged,
    logLoss: told === 0 ? undefined : loss / told,
    perplexity: tokens === 0 ? undefined : Math.exp(sum / tokens),
  };
}

/** Own less other, where both are known. */
export function difference(own: Omit<Score, 'questions'>, other: Omit<Score, 'questions'>): Omit<Score, 'questions'> {
  const minus = (a: number | undefined, b: number | undefined) =>
    a === undefined || b === undefined ? undefined : a === b ? 0 : a - b;
  return {
    accuracy: minus(own.accuracy, other.accuracy),
    logLoss: minus(own.logLoss, other.logLoss),
    perplexity: minus(own.perplexity, other.perplexity),
  };
}

/**
 * Orders by what is chosen by: negative where `a` is better, 0 where nothing tells them apart. Accuracy decides, then log
 * loss; of texts, perplexity. A value that is unknown, or no number, is worse than any other.
 */
export function compareScores(a: Score, b: Score, objective: Objective): number {
  const least = (x: number | undefined, y: number | undefined) => {
    const [one, other] = [x, y].map((value) =>
      value === undefined || Number.isNaN(value) ? Number.POSITIVE_INFINITY : value,
    );
    return one === other ? 0 : one! < other! ? -1 : 1;
  };
  if (objective === 'perplexity') return least(a.perplexity, b.perplexity);
  const wrong = ({ accuracy }: Score) => (accuracy === undefined ? undefined : -accuracy);
  return least(wrong(a), wrong(b)) || least(a.logLoss, b.logLoss);
}

/** Texts are judged by perplexity, questions with answers by accuracy. */
export function objectiveOf(questions: readonly Question[]): Objective {
  return questions.every(({ kind }) => kind === 'text') ? 'perplexity' : 'accuracy';
}
