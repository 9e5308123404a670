import { ENOUGH_ENERGY, type Shortfall } from '../../../adapters/shortfall.js';
import { LowRankError } from '../../../errors.js';
import type { EditProgress } from '../../../progress.js';
import { FLOAT_DTYPES } from '../../../tensor/dtype.js';
import { formatShare } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { interruptible } from '../../interrupt.js';
import { ProgressLine } from '../../terminal/progress.js';
import type { Terminal } from '../../terminal/terminal.js';

/** Choices of `--dtype`. */
export const DTYPES = FLOAT_DTYPES.map((dtype) => dtype.toLowerCase());

/** Runs a job that Ctrl-C can stop, with progress on stderr. */
export async function runJob<T>(
  terminal: Terminal,
  out: string,
  work: (signal: AbortSignal, show: (progress: EditProgress) => void) => Promise<T>,
): Promise<T> {
  const progress = new ProgressLine(terminal.err);
  try {
    return await interruptible(
      (signal) => work(signal, progress.show),
      (again) => {
        progress.end();
        terminal.err.lines([
          again
            ? `stopped; an unfinished copy may be left beside ${printable(out)}, with a name that starts with a dot`
            : 'stopping and removing what was written; press Ctrl-C again to stop at once',
        ]);
      },
    );
  } finally {
    progress.end();
  }
}

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

/** @throws {@link LowRankError} `ERR_ARGUMENT` without an output path. */
export function requireOut(out: string | undefined): string {
  if (out !== undefined) return out;
  throw new LowRankError('ERR_ARGUMENT', 'missing output path: pass -o <path>');
}

/** Requires exactly one of several options. */
export function requireOne<T extends object>(flags: T, names: readonly (keyof T & string)[]): T {
  const given = names.filter((name) => flags[name] !== undefined);
  if (given.length === 1) return flags;
  const options = names.map((name) => `--${name}`).join(', ');
  const message = given.length === 0 ? `missing rank choice: pass one of ${options}` : `pass only one of ${options}`;
  throw new LowRankError('ERR_ARGUMENT', message);
}
