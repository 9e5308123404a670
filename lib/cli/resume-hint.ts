import { resolve } from 'node:path';
import { unfinishedWork } from '../checkpoint/copy/staging.js';
import { LowRankError } from '../errors.js';
import { formatBytes } from '../text/format.js';
import { printable } from '../text/printable.js';
import { Interrupted } from './interrupt.js';
import type { Terminal } from './terminal/terminal.js';

export const RESUME_HINT = 'run the same command again to resume';

/** Adds a hint about resumable work to an error. */
export async function withResumeHint(error: unknown, out: string, terminal: Terminal): Promise<unknown> {
  const work = await unfinishedWork(resolve(out)).catch(() => undefined);
  if (work === undefined) return error;
  const { folder, tensors, bytes } = work;
  const done = `${tensors} ${tensors === 1 ? 'tensor' : 'tensors'} done (${formatBytes(bytes)})`;
  if (error instanceof Interrupted) {
    return new Interrupted(`interrupted, ${done}`, `${RESUME_HINT}; to give up, remove ${folder}`);
  }
  // Errors about the unfinished work itself carry their own hint; other errors arose before this
  // job began.
  if (error instanceof LowRankError && error.code !== 'ERR_CHECKPOINT_IO') return error;
  terminal.err.lines([printable(`kept in ${folder}: ${done}; ${RESUME_HINT}; to give up, remove the folder`)]);
  return error;
}
