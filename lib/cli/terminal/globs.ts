import type { Skipped } from '../../model/names.js';
import { printable } from '../../text/printable.js';
import type { Output } from './terminal.js';

/** For the help of the commands that choose tensors by name. */
export const GLOBS =
  'Globs: * matches anything but /, dots too; {a,b} and {8..12} are alternatives; !(a|b) is anything else.';

/** Says on stderr what globs matched in vain, so that nobody takes it for edited. */
export function printSkipped(skipped: readonly Skipped[], what: string, err: Output): void {
  err.lines(
    skipped.map(({ glob, matched, tensors }) =>
      printable(`${glob}: matched ${matched} tensors, skipped ${tensors.length} that are not ${what}`),
    ),
  );
}
