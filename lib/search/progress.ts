import type { Candidate, Score, Trial } from './log-lines.js';

/** The progress of a search. */
export interface SearchProgress {
  /** The unedited model; the grid; greedy composition; the test questions; writing the winner. */
  readonly phase: 'base' | 'grid' | 'greedy' | 'test' | 'write';
  /** Finished trials of this phase, and all of them. */
  readonly done: number;
  readonly total: number;
  /** The current candidate. */
  readonly candidate: Candidate | undefined;
  /** Questions asked in this trial, and all of them. */
  readonly asked: number;
  readonly questions: number;
  /** A trial that has just ended, or was read from the log of an earlier run. */
  readonly trial: Trial | undefined;
  readonly resumed: boolean;
  readonly base: Score | undefined;
  readonly best: Trial | undefined;
  /** Seconds since this run started. */
  readonly seconds: number;
  /** From the mean of this run's trials; undefined until there is one. */
  readonly remainingSeconds: number | undefined;
  /**
   * A problem that costs time but does not affect the result, such as a cache that cannot be
   * written.
   */
  readonly warning: string | undefined;
}

/** Keeps the current state, and reports it to the caller. */
export class ProgressReporter {
  readonly #onProgress: ((progress: SearchProgress) => void) | undefined;
  readonly #started = performance.now();
  #state: Omit<SearchProgress, 'seconds' | 'remainingSeconds'> = {
    phase: 'base',
    done: 0,
    total: 1,
    candidate: undefined,
    asked: 0,
    questions: 0,
    trial: undefined,
    resumed: false,
    base: undefined,
    best: undefined,
    warning: undefined,
  };
  #tried = 0;

  constructor(onProgress: ((progress: SearchProgress) => void) | undefined) {
    this.#onProgress = onProgress;
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** Changes the state and reports it; a trial and a warning are reported once. */
  report(change: Partial<SearchProgress>): void {
    this.#state = { ...this.#state, ...change };
    if (change.trial !== undefined && !change.resumed) this.#tried++;
    const { seconds } = this;
    const { phase, done, total } = this.#state;
    const remains = (phase === 'grid' || phase === 'greedy') && this.#tried > 0;
    this.#onProgress?.({
      ...this.#state,
      seconds,
      remainingSeconds: remains ? (seconds / this.#tried) * (total - done) : undefined,
    });
    this.#state = { ...this.#state, trial: undefined, resumed: false, warning: undefined };
  }
}
