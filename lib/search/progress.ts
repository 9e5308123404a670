import type { Candidate, Score, Trial } from './log-lines.js';

/** How far a search is. */
export interface SearchProgress {
  /** The model as it is; the grid; greedy composition; the test questions; writing the winner. */
  readonly phase: 'base' | 'grid' | 'greedy' | 'test' | 'write';
  /** Trials done of those of the phase. */
  readonly done: number;
  readonly total: number;
  /** What is tried at the moment. */
  readonly candidate: Candidate | undefined;
  /** Questions asked in this trial, of those there are. */
  readonly asked: number;
  readonly questions: number;
  /** A trial that has just ended, or was read from the log of an earlier run. */
  readonly trial: Trial | undefined;
  readonly resumed: boolean;
  readonly base: Score | undefined;
  readonly best: Trial | undefined;
  /** Since this run began. */
  readonly seconds: number;
  /** From the mean of this run's trials; undefined while there is none. */
  readonly remainingSeconds: number | undefined;
  /** Something that costs time but no result, such as a cache that cannot be written. */
  readonly warning: string | undefined;
}

/** Keeps what is known, and tells the caller. */
export class ProgressTeller {
  readonly #tell: ((progress: SearchProgress) => void) | undefined;
  readonly #started = performance.now();
  #state: Omit<SearchProgress, 'seconds' | 'remainingSeconds'> = {
    ...{ phase: 'base', done: 0, total: 1, candidate: undefined, asked: 0, questions: 0 },
    ...{ trial: undefined, resumed: false, base: undefined, best: undefined, warning: undefined },
  };
  #tried = 0;

  constructor(tell: ((progress: SearchProgress) => void) | undefined) {
    this.#tell = tell;
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  /** Changes what is told; a trial and a warning are told once. */
  tell(change: Partial<SearchProgress>): void {
    this.#state = { ...this.#state, ...change };
    if (change.trial !== undefined && !change.resumed) this.#tried++;
    const { seconds } = this;
    const { phase, done, total } = this.#state;
    const remains = (phase === 'grid' || phase === 'greedy') && this.#tried > 0;
    this.#tell?.({
      ...this.#state,
      seconds,
      remainingSeconds: remains ? (seconds / this.#tried) * (total - done) : undefined,
    });
    this.#state = { ...this.#state, trial: undefined, resumed: false, warning: undefined };
  }
}
