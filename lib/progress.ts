import { abortSignal, callback, type OptionTypes } from './options.js';

/** How far a job on a checkpoint is. */
export interface EditProgress {
  /** `copy` while the untouched tensors are copied, `edit` for the tensors one after another, `commit` at the end. */
  readonly phase: 'copy' | 'edit' | 'commit';
  /** The matrix at hand. */
  readonly name: string | undefined;
  /** Matrices done, and in all. */
  readonly done: number;
  readonly total: number;
  /** Bytes of the matrices to edit that are done, with part of the one at hand, and in all. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** Since the job began. */
  readonly seconds: number;
  /** Estimated from the bytes; undefined while there is nothing to estimate from. */
  readonly remainingSeconds: number | undefined;
}

/** The options that every job on a checkpoint takes. */
export const JOB_OPTIONS: OptionTypes<{
  signal?: AbortSignal;
  onProgress?: (progress: EditProgress) => void;
}> = { signal: abortSignal, onProgress: callback };

/** Counts matrices and bytes, and tells the caller. */
export class Progress {
  readonly #tell: ((progress: EditProgress) => void) | undefined;
  readonly #total: number;
  readonly #bytesTotal: number;
  readonly #started = performance.now();
  #editing: number | undefined;
  #done = 0;
  #bytesDone = 0;
  #bytesResumed = 0;

  constructor(sizes: readonly number[], tell?: (progress: EditProgress) => void) {
    this.#tell = tell;
    this.#total = sizes.length;
    this.#bytesTotal = sizes.reduce((sum, bytes) => sum + bytes, 0);
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  phase(phase: 'copy' | 'commit'): void {
    this.#report(phase, undefined, 0);
  }

  /** Says that `share` (0 to 1) of the matrix at hand is done. */
  working(name: string, bytes: number, share: number): void {
    this.#editing ??= this.seconds;
    this.#report('edit', name, bytes * Math.min(Math.max(share, 0), 1));
  }

  finished(name: string, bytes: number): void {
    this.#done++;
    this.#bytesDone += bytes;
    this.#report('edit', name, 0);
  }

  /** Says that a matrix was done by an earlier run: it counts as done, but says nothing of the speed. */
  resumed(name: string, bytes: number): void {
    this.#bytesResumed += bytes;
    this.finished(name, bytes);
  }

  #report(phase: EditProgress['phase'], name: string | undefined, partial: number): void {
    if (this.#tell === undefined) return;
    const bytesDone = this.#bytesDone + partial;
    const { seconds } = this;
    const spent = seconds - (this.#editing ?? seconds);
    const own = bytesDone - this.#bytesResumed;
    this.#tell({
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
