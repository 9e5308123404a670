import type { Output } from './terminal.js';

const REDRAW_MS = 100;
/** Interval when the stream is not a terminal. */
const SAY_MS = 5000;

/** Redraws one line on a terminal; elsewhere prints a line every few seconds and at the end. */
export class ProgressLine<P extends { readonly done: number; readonly total: number }> {
  readonly #output: Output;
  readonly #describe: (progress: P) => string;
  #shown = Number.NEGATIVE_INFINITY;

  constructor(output: Output, describe: (progress: P) => string) {
    this.#output = output;
    this.#describe = describe;
  }

  readonly show = (progress: P): void => {
    const now = performance.now();
    const last = progress.done === progress.total;
    if (!last && now - this.#shown < (this.#output.isTerminal ? REDRAW_MS : SAY_MS)) return;
    this.#shown = now;
    const text = this.#describe(progress);
    if (this.#output.isTerminal) this.#output.write(`\r${text}\u001b[K`);
    else this.#output.lines([text]);
  };

  end(): void {
    if (this.#output.isTerminal && this.#shown !== Number.NEGATIVE_INFINITY) this.#output.write('\r\u001b[K');
  }
}
