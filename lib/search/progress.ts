import { Pace } from '../evaluate/engines/pace.js';
import type { TokenProgress } from '../evaluate/engines/token-progress.js';
import { type Candidate, type Score, STOPPED, type Trial, type Verdict } from './log-lines.js';

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
   * Until the end of the stage and of the test, if the candidates to come are stopped as early as
   * those before; undefined until the unedited model has been asked. So before the first candidate,
   * this is the most that the search may cost.
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

/** Keeps the current state, and reports it to the caller. */
export class ProgressReporter {
  readonly #onProgress: ((progress: SearchProgress) => void) | undefined;
  readonly #questions: number;
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
  /** How long trials take: of each something, and something for each question. */
  readonly #pace = new Pace();
  /** The trials of this run but the base, and those of them that were stopped. */
  readonly #asked = { trials: 0, questions: 0 };
  readonly #stopped = { trials: 0, questions: 0 };
  #remaining: readonly RemainingTrials[] | undefined;

  /**
   * @param questions the number of validation questions
   * @param testQuestions asked twice at the end
   */
  constructor(
    onProgress: ((progress: SearchProgress) => void) | undefined,
    { questions, testQuestions }: { readonly questions: number; readonly testQuestions: number },
  ) {
    this.#onProgress = onProgress;
    this.#questions = questions;
    this.#testQuestions = testQuestions;
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** Whether somebody is told. */
  get isWatched(): boolean {
    return this.#onProgress !== undefined;
  }

  /** Counts a trial of this run, or a round of one, to estimate what is left from. */
  count({ edit, evaluate }: Trial['seconds'], questions: number, verdict: Verdict): void {
    this.#pace.add({ tokens: questions, requests: 1 }, edit + evaluate);
    if (this.#state.phase === 'base') return;
    for (const counted of [this.#asked, ...(STOPPED.has(verdict) ? [this.#stopped] : [])]) {
      counted.trials++;
      counted.questions += questions;
    }
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
   * Estimates the time of the trials that are left in the stage, and of the test. Most of those to
   * come will be stopped as early as those before; only a few beat the best so far and are asked
   * everything.
   */
  #remainingSeconds(): number | undefined {
    const { phase, done, total, asked } = this.#state;
    if ((phase !== 'grid' && phase !== 'greedy') || !this.#pace.isKnown) return undefined;
    const typical = [this.#stopped, this.#asked].find(({ trials }) => trials > 0);
    const each = typical === undefined ? this.#questions : typical.questions / typical.trials;
    const remaining = this.#remaining ?? [{ trials: total - done, questions: undefined }];
    const trials = remaining.reduce((sum, one) => sum + one.trials, 0);
    const questions = remaining.reduce((sum, one) => sum + one.trials * (one.questions ?? each), 0);
    const current = Math.min(remaining[0]?.questions ?? each, asked);
    // The unedited model and the winner are asked the test questions.
    const test = { tokens: 2 * this.#testQuestions, requests: 2 };
    return (
      this.#pace.secondsOf({ tokens: Math.max(0, questions - current), requests: trials }) +
      (this.#testQuestions > 0 ? this.#pace.secondsOf(test) : 0)
    );
  }
}
