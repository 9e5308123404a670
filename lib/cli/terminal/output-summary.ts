import type { Copied } from '../../checkpoint/copy/output-summary.js';
import { formatSeconds } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import type { Output } from './terminal.js';

/** Other weight files that are named; of more, how many. */
const NAMED = 5;

/** Says where a copy of a checkpoint is, and what in its folder is none. */
export function describeWritten({ out, main, others }: Copied, seconds: number, { colors }: Output): string[] {
  const lines = [`${colors.green('wrote')} ${printable(out)} in ${formatSeconds(seconds)}`];
  if (main !== out) lines.push(printable(`it holds several models: what was edited is ${main}`));
  if (others.length > 0) {
    const more = others.length > NAMED ? ` and ${others.length - NAMED} more` : '';
    lines.push(printable(`copied as they were, not edited: ${others.slice(0, NAMED).join(', ')}${more}`));
  }
  return lines;
}
