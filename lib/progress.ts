import { abortSignal, callback, type OptionTypes } from './options.js';

/** The progress of a job on a checkpoint. */
export interface EditProgress {
  /**
   * `copy` while untouched tensors are copied, `edit` for the edited tensors, `commit` at the end.
   */
  readonly phase: 'copy' | 'edit' | 'commit';
  /** The current matrix. */
  readonly name: string | undefined;
  /** The number of finished matrices, and of all. */
  readonly done: number;
  readonly total: number;
  /**
   * Bytes of the finished matrices and a share of the current ones, and of all matrices to edit.
   */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** Seconds since the job started. */
  readonly seconds: number;
  /** Estimated from the bytes; undefined until there is something to estimate from. */
  readonly remainingSeconds: number | undefined;
}

/** The options that every job on a checkpoint takes. */
export const JOB_OPTIONS: OptionTypes<{
  signal?: AbortSignal;
  onProgress?: (progress: EditProgress) => void;
}> = { signal: abortSignal, onProgress: callback };

/** Counts matrices and bytes, and reports them to the caller. */
export class Progress {
  readonly #onProgress: ((progress: EditProgress) => void) | undefined;
  readonly #total: number;
  readonly #bytesTotal: number;
  readonly #started = performance.now();
  #editing: number | undefined;
  #done = 0;
  #bytesDone = 0;
  #bytesResumed = 0;
  /** Bytes of those that are being worked on, by name. */
  readonly #partial = new Map<string, number>();

  constructor(sizes: readonly number[], onProgress?: (progress: EditProgress) => void) {
    this.#onProgress = onProgress;
    this.#total = sizes.length;
    this.#bytesTotal = sizes.reduce((sum, bytes) => sum + bytes, 0);
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  phase(phase: 'copy' | 'commit'): void {
    this.#report(phase, undefined);
  }

  /** Reports that `share` (0 to 1) of a matrix is done. */
  working(name: string, bytes: number, share: number): void {
    this.#editing ??= this.seconds;
    this.#partial.set(name, bytes * Math.min(Math.max(share, 0), 1));
    this.#report('edit', name);
  }

  finished(name: string, bytes: number): void {
    this.#done++;
    this.#bytesDone += bytes;
    this.#partial.delete(name);
    this.#report('edit', name);
  }

  /** Counts a matrix that an earlier run has finished. It does not affect the estimated speed. */
  resumed(name: string, bytes: number): void {
    this.#bytesResumed += bytes;
    this.finished(name, bytes);
  }

  #report(phase: EditProgress['phase'], name: string | undefined): void {
    if (this.#onProgress === undefined) return;
    const bytesDone = [...this.#partial.values()].reduce((sum, bytes) => sum + bytes, this.#bytesDone);
    const { seconds } = this;
    const spent = seconds - (this.#editing ?? seconds);
    const own = bytesDone - this.#bytesResumed;
    this.#onProgress({
      phase,
      name,
      done: this.#done,
      total: this.#total,
      bytesDone,
      bytesTotal: this.#bytesTotal,
      seconds,
      remainingSeconds: own > 0 ? (spent * (this.#bytesTotal - bytesDone)) / own : undefined,
    });
  }
}
