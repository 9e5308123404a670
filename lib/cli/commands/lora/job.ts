import { ENOUGH_ENERGY, type Shortfall } from '../../../adapters/shortfall.js';
import { LowRankError } from '../../../errors.js';
import type { EditProgress } from '../../../progress.js';
import { FLOAT_DTYPES } from '../../../tensor/dtype.js';
import { formatShare } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { interruptible } from '../../interrupt.js';
import { ProgressLine } from '../../terminal/progress.js';
import type { Terminal } from '../../terminal/terminal.js';

/** The dtypes of `--dtype`. */
export const DTYPES = FLOAT_DTYPES.map((dtype) => dtype.toLowerCase());

/** Runs a job that Ctrl-C ends, with its progress on stderr. */
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
            ? `stopped; beside ${printable(out)} an unfinished copy may be left, its name begins with a dot`
            : 'stopping and removing what was written; once more to stop at once',
        ]);
      },
    );
  } finally {
    progress.end();
  }
}

/**
 * Warns on stderr of an adapter that keeps too little to stand for what it was made from.
 *
 * @param whole - what that is, such as "the difference"
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
    `${dim('hint:')} ${known}--energy ${ENOUGH_ENERGY} chooses the rank of each module so that it keeps ${enough}`,
  ]);
}

/** @throws {@link LowRankError} `ERR_ARGUMENT` without a path for the result. */
export function requireOut(out: string | undefined): string {
  if (out !== undefined) return out;
  throw new LowRankError('ERR_ARGUMENT', 'where to write the result is not said: give -o <path>');
}

/** The one of several options that was given. */
export function requireOne<T extends object>(flags: T, names: readonly (keyof T & string)[]): T {
  const given = names.filter((name) => flags[name] !== undefined);
  if (given.length === 1) return flags;
  const options = names.map((name) => `--${name}`).join(', ');
  const message =
    given.length === 0 ? `how to choose the rank is not said: give one of ${options}` : `give only one of ${options}`;
  throw new LowRankError('ERR_ARGUMENT', message);
}
