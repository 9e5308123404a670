import type { OutputSummary } from '../../checkpoint/copy/output-summary.js';
import { formatSeconds } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import type { Output } from './terminal.js';

/** Most other weight files to list by name. */
const NAMED = 5;

/** Describes the written output, and which weight files in it were not edited. */
export function describeOutput(
  { out, entryPoint, untouchedWeights }: OutputSummary,
  seconds: number,
  { colors }: Output,
): string[] {
  const lines = [`${colors.green('wrote')} ${printable(out)} in ${formatSeconds(seconds)}`];
  if (entryPoint !== out) lines.push(printable(`the folder holds several models; the edited one is ${entryPoint}`));
  if (untouchedWeights.length > 0) {
    const more = untouchedWeights.length > NAMED ? ` and ${untouchedWeights.length - NAMED} more` : '';
    lines.push(printable(`copied without edits: ${untouchedWeights.slice(0, NAMED).join(', ')}${more}`));
  }
  return lines;
}
