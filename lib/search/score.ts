import { measure } from '../evaluate/metrics/summary.js';
import type { Question } from '../evaluate/questions/question.js';
import type { ExampleResult } from '../evaluate/result.js';
import type { Objective, RoundLine, Score, Trial } from './log-lines.js';

/** The answers of one trial so far, at the indexes of their questions in the set. */
export class Answers {
  readonly outcomes: string[];
  readonly losses: (readonly [loss: number, tokens: number] | null)[];
  readonly #results: (ExampleResult | undefined)[];
  /** Figures that a program reports for the whole set, if it does not answer by question. */
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

  /** Counts further questions as asked, whether or not the engine answered them one by one. */
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

/** Computes the score of questions from what a log has of them, in the order of the set. */
export function scoreOf(outcomes: ArrayLike<string>, losses: RoundLine['losses']): Score {
  let [questions, right, judged, loss, known, sum, tokens] = [0, 0, 0, 0, 0, 0, 0];
  for (let i = 0; i < outcomes.length; i++) {
    const own = losses[i] ?? null;
    if (outcomes[i] !== '-' || own !== null) questions++;
    if (outcomes[i] !== '-') judged++;
    if (outcomes[i] === '1') right++;
    if (own === null) continue;
    known++;
    loss += own[0];
    sum += own[0] * own[1];
    tokens += own[1];
  }
  return {
    questions,
    accuracy: judged === 0 ? undefined : right / judged,
    logLoss: known === 0 ? undefined : loss / known,
    perplexity: tokens === 0 ? undefined : Math.exp(sum / tokens),
  };
}

/** Returns the base's score on only those questions that a trial has answered. */
export function baseOnSame(
  base: Pick<Trial, 'outcomes' | 'losses' | 'score'>,
  own: Pick<Answers, 'outcomes' | 'losses'>,
): Omit<Score, 'questions'> {
  // A program that reports only figures for the whole set was asked the whole set.
  if (own.outcomes.every((outcome) => outcome === '-') && own.losses.every((loss) => loss === null)) return base.score;
  return scoreOf(
    own.outcomes.map((outcome, i) => (outcome === '-' ? '-' : base.outcomes[i]!)),
    own.losses.map((loss, i) => (loss === null ? null : (base.losses?.[i] ?? null))),
  );
}

/** Subtracts the other score, where both are known. */
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
 * Orders scores by the criterion: negative if `a` is better, 0 if they are equal. Accuracy decides,
 * then log loss; for texts, perplexity. An unknown value or NaN is worse than any other.
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

/** Returns the criterion: perplexity for texts, accuracy for questions with answers. */
export function objectiveOf(questions: readonly Question[]): Objective {
  return questions.every(({ kind }) => kind === 'text') ? 'perplexity' : 'accuracy';
}
