import { type Interrupted, interruptible } from './interrupt.js';
import { withResumeHint } from './resume-hint.js';
import type { Terminal } from './terminal/terminal.js';

/** How a command runs its job. */
export interface CommandJob<T, P> {
  /** Shows progress on stderr. `end` clears what it drew, before any other output. */
  readonly progress: { readonly show: (progress: P) => void; end(): void };
  /** Says what the first Ctrl-C does to the work; default: `stopping`. */
  readonly stopping?: string;
  /** Printed when a second Ctrl-C ends the process. */
  readonly stopped?: string;
  /** The error that an interrupted job ends with. */
  readonly interrupted?: Interrupted;
  /**
   * Finds the output whose unfinished work the same command resumes; a failure is reported with a
   * hint about it.
   */
  readonly resumes?: () => string | undefined | Promise<string | undefined>;
  readonly work: (signal: AbortSignal, onProgress: (progress: P) => void) => Promise<T>;
}

/**
 * Runs the job of a command, with progress, and stops it on Ctrl-C.
 *
 * @throws what the job throws; {@link Interrupted} after Ctrl-C. The program turns it into a
 *   message and an exit code.
 */
export async function runJob<T, P>(terminal: Terminal, job: CommandJob<T, P>): Promise<T> {
  const { progress, stopping = 'stopping', stopped, interrupted, resumes, work } = job;
  const announce = (again: boolean) => {
    progress.end();
    const line = again ? stopped : `${stopping}; press Ctrl-C again to stop at once`;
    if (line !== undefined) terminal.err.lines([line]);
  };
  try {
    return await interruptible((signal) => work(signal, progress.show), announce, interrupted);
  } catch (error) {
    progress.end();
    const out = await resumes?.();
    throw out === undefined ? error : await withResumeHint(error, out, terminal);
  } finally {
    progress.end();
  }
}

/**
 * Prints the result of a command: one JSON document with `--json`, otherwise what `print` writes.
 *
 * @param document what `--json` prints
 */
export function printResult(
  { out }: Terminal,
  { json }: { readonly json?: boolean },
  document: unknown,
  print: () => void,
): void {
  if (json) out.lines([JSON.stringify(document, null, 2)]);
  else print();
}
