import type { SkippedTensors } from '../../model/names.js';
import { printable } from '../../text/printable.js';
import type { Output } from './terminal.js';

/** Help text for commands that select tensors by name. */
export const GLOBS =
  'Globs: * matches anything except /, including dots; {a,b} and {8..12} list alternatives; !(a|b) excludes them.';

/** Reports on stderr the tensors that a glob matched but the command skipped. */
export function printSkipped(skipped: readonly SkippedTensors[], what: string, err: Output): void {
  err.lines(
    skipped.map(({ glob, matched, tensors }) =>
      printable(`${glob}: matched ${matched} tensors, skipped ${tensors.length} that are not ${what}`),
    ),
  );
}
