import type { EditProgress } from '../../progress.js';
import { formatBytes, formatSeconds } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import { shorten } from './table.js';
import type { Output } from './terminal.js';

const REDRAW_MS = 100;

/** Redraws one line on a terminal; elsewhere prints a line for each finished matrix. */
export class ProgressLine {
  readonly #output: Output;
  #drawn = Number.NEGATIVE_INFINITY;
  #said = '';

  constructor(output: Output) {
    this.#output = output;
  }

  readonly show = (progress: EditProgress): void => {
    if (this.#output.isTerminal) this.#draw(progress);
    else this.#say(progress);
  };

  /** Clears the line. Call before any other output. */
  end(): void {
    if (this.#output.isTerminal && this.#drawn !== Number.NEGATIVE_INFINITY) this.#output.write('\r\u001b[K');
  }

  #draw(progress: EditProgress): void {
    const now = performance.now();
    if (now - this.#drawn < REDRAW_MS) return;
    this.#drawn = now;
    // Leave the last column free: filling it wraps the line on some terminals.
    const width = (this.#output.columns ?? 80) - 1;
    this.#output.write(`\r${describeProgress(progress, width)}\u001b[K`);
  }

  #say(progress: EditProgress): void {
    const key = `${progress.phase} ${progress.done}`;
    if (key === this.#said || (progress.phase === 'edit' && progress.done === 0)) return;
    this.#said = key;
    this.#output.lines([describeProgress(progress, undefined)]);
  }
}

/** @internal Formats one line; shortens the matrix name first to fit `width` characters. */
export function describeProgress(progress: EditProgress, width: number | undefined): string {
  const { phase, name, done, total, bytesDone, bytesTotal, seconds, remainingSeconds } = progress;
  if (phase === 'copy') return shorten('copying the checkpoint', width ?? Number.POSITIVE_INFINITY);
  if (phase === 'commit') return shorten('moving the output into place', width ?? Number.POSITIVE_INFINITY);
  const left = remainingSeconds === undefined || done === total ? '' : `, ${formatSeconds(remainingSeconds)} left`;
  const head = `${done}/${total} `;
  const tail = ` ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}, ${formatSeconds(seconds)}${left}`;
  const shown = printable(name ?? '');
  if (width === undefined) return `${head}${shown}${tail}`;
  const room = width - head.length - tail.length;
  return room >= 8 ? `${head}${shorten(shown, room)}${tail}` : shorten(`${head.trimEnd()}${tail}`, width);
}
