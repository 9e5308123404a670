import type { TokenProgress } from '../evaluate/engines/token-progress.js';
import type { Candidate, Score, Trial } from './log-lines.js';

/** The progress of a search. */
export interface SearchProgress {
  /** The unedited model; the grid; greedy composition; the test questions; writing the winner. */
  readonly phase: 'base' | 'grid' | 'greedy' | 'test' | 'write';
  /** Finished trials of this phase, and all of them. */
  readonly done: number;
  readonly total: number;
  /** The round of a guided search, in which candidates count as done when they have been asked. */
  readonly round: { readonly number: number; readonly of: number } | undefined;
  /** The current candidate. */
  readonly candidate: Candidate | undefined;
  /** Questions asked in this trial, and all of them. */
  readonly asked: number;
  readonly questions: number;
  /** The progress inside a batch of these questions; undefined for a program. */
  readonly tokens: TokenProgress | undefined;
  /** A trial that has just ended, or was read from the log of an earlier run. */
  readonly trial: Trial | undefined;
  readonly resumed: boolean;
  readonly base: Score | undefined;
  readonly best: Trial | undefined;
  /** Seconds since this run started. */
  readonly seconds: number;
  /**
   * Until the end of the stage and of the test, as long as the trials to come take what the last
   * ones took; undefined until there is one. The unedited model is the first, so without early
   * stopping this is the cost of the search before its first candidate.
   */
  readonly remainingSeconds: number | undefined;
  /**
   * A problem that costs time but does not affect the result, such as a cache that cannot be
   * written.
   */
  readonly warning: string | undefined;
}

/** Trials that are left: how many, and the questions that each of them will be asked. */
export interface RemainingTrials {
  readonly trials: number;
  /** Undefined for as many as those before. */
  readonly questions: number | undefined;
}

/** Of the last trials, the share whose means are expected of those to come. */
const RECENT_SHARE = 0.5;
const FEWEST_RECENT = 5;

/** Keeps the current state, and reports it to the caller. */
export class ProgressReporter {
  readonly #onProgress: ((progress: SearchProgress) => void) | undefined;
  readonly #testQuestions: number;
  readonly #started = performance.now();
  #state: Omit<SearchProgress, 'seconds' | 'remainingSeconds'> = {
    phase: 'base',
    done: 0,
    total: 1,
    round: undefined,
    candidate: undefined,
    asked: 0,
    questions: 0,
    tokens: undefined,
    trial: undefined,
    resumed: false,
    base: undefined,
    best: undefined,
    warning: undefined,
  };
  /** The trials of this run, which tell how long those to come will take. */
  readonly #tried: { readonly edit: number; readonly evaluate: number; readonly asked: number }[] = [];
  #remaining: readonly RemainingTrials[] | undefined;

  /** @param testQuestions asked twice at the end */
  constructor(onProgress: ((progress: SearchProgress) => void) | undefined, testQuestions = 0) {
    this.#onProgress = onProgress;
    this.#testQuestions = testQuestions;
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** Whether somebody is told. */
  get isWatched(): boolean {
    return this.#onProgress !== undefined;
  }

  /** Counts work of this run, to estimate what is left from. */
  count(seconds: Trial['seconds'], asked: number): void {
    this.#tried.push({ ...seconds, asked });
  }

  /** Says what is left of a stage; undefined for all candidates that it has not tried. */
  expect(remaining: readonly RemainingTrials[] | undefined): void {
    this.#remaining = remaining;
  }

  /** Changes the state and reports it; a trial and a warning are reported once. */
  report(change: Partial<SearchProgress>): void {
    this.#state = { ...this.#state, ...change };
    this.#onProgress?.({ ...this.#state, seconds: this.seconds, remainingSeconds: this.#remainingSeconds() });
    this.#state = { ...this.#state, trial: undefined, resumed: false, warning: undefined };
  }

  /**
   * Estimates the time of the trials that are left in the stage, and of the test. Trials that are
   * stopped early become shorter as the best so far gets better, so the last ones count.
   */
  #remainingSeconds(): number | undefined {
    const { phase, done, total, asked } = this.#state;
    if (phase !== 'grid' && phase !== 'greedy') return undefined;
    const recent = this.#tried.slice(-Math.max(FEWEST_RECENT, Math.ceil(RECENT_SHARE * this.#tried.length)));
    const sum = (of: (tried: (typeof recent)[number]) => number) => recent.reduce((all, one) => all + of(one), 0);
    const questions = sum((one) => one.asked);
    if (questions === 0) return undefined;
    const perQuestion = sum((one) => one.evaluate) / questions;
    const perTrial = sum((one) => one.edit) / recent.length;
    const remaining = this.#remaining ?? [{ trials: total - done, questions: undefined }];
    const each = questions / recent.length;
    const left = remaining.reduce(
      (all, one) => all + one.trials * (perTrial + (one.questions ?? each) * perQuestion),
      0,
    );
    const expected = Math.min(remaining[0]?.questions ?? each, asked);
    return Math.max(0, left - expected * perQuestion) + 2 * this.#testQuestions * perQuestion;
  }
}
