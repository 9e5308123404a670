import { ENOUGH_ENERGY, type Shortfall } from '../../../adapters/shortfall.js';
import { formatShare } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import type { Terminal } from '../../terminal/terminal.js';

/**
 * Warns on stderr about an adapter that keeps too little of what it was made from.
 *
 * @param whole - what the adapter was made from, such as "the difference"
 */
export function warnOfShortfall(shortfall: Shortfall | undefined, whole: string, { err }: Terminal): void {
  if (shortfall === undefined) return;
  const { yellow, dim } = err.colors;
  const { module, keptEnergy, rank, sufficientRank, modules } = shortfall;
  const enough = `${100 * ENOUGH_ENERGY} %`;
  const others = modules === 1 ? '' : `; ${modules} modules keep less than ${enough}`;
  const known = sufficientRank === undefined ? '' : `rank ${sufficientRank} keeps ${enough} of this module; `;
  err.lines([
    `${yellow('warning:')} ${printable(module)}: rank ${rank} keeps only ${formatShare(keptEnergy)} of ${whole}${others}`,
    `${dim('hint:')} ${known}--energy ${ENOUGH_ENERGY} gives each module the smallest rank that keeps ${enough}`,
  ]);
}
