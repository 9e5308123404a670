import { resolve } from 'node:path';
import { unfinishedWork } from '../checkpoint/copy/staging.js';
import { LowRankError } from '../errors.js';
import { formatBytes } from '../text/format.js';
import { printable } from '../text/printable.js';
import { Interrupted } from './interrupt.js';
import type { Terminal } from './terminal/terminal.js';

export const GO_ON = 'the same command goes on from there';

/** Says of a failure what is left of the work, and what can be done with it. */
export async function withWayOn(error: unknown, out: string, terminal: Terminal): Promise<unknown> {
  const work = await unfinishedWork(resolve(out)).catch(() => undefined);
  if (work === undefined) return error;
  const { folder, tensors, bytes } = work;
  const done = `${tensors} ${tensors === 1 ? 'tensor' : 'tensors'} done (${formatBytes(bytes)})`;
  if (error instanceof Interrupted) {
    return new Interrupted(`interrupted, ${done}`, `${GO_ON}; to give up, remove ${folder}`);
  }
  // A refusal to touch the work has said so itself, and what else is wrong with a command was wrong before it began.
  if (error instanceof LowRankError && error.code !== 'ERR_CHECKPOINT_IO') return error;
  terminal.err.lines([printable(`${done} is kept in ${folder}: ${GO_ON}; to give up, remove it`)]);
  return error;
}
