import { WRITABLE_TYPES } from '../../../tensor/dtype.js';
import { printable } from '../../../text/printable.js';
import type { CommandJob } from '../../job.js';
import { wrongUsage } from '../../options.js';

/** Choices of `--dtype`; Q8_0 is for adapters in GGUF. */
export const DTYPES = WRITABLE_TYPES.map((dtype) => dtype.toLowerCase());

/** What Ctrl-C does to a job that leaves nothing behind. */
export function leavesNothing(out: string): Pick<CommandJob<unknown, unknown>, 'stopping' | 'stopped'> {
  return {
    stopping: 'stopping and removing what was written',
    stopped: `stopped; an unfinished copy may be left beside ${printable(out)}, with a name that starts with a dot`,
  };
}

/** Requires exactly one of several options. */
export function requireOne<T extends object>(flags: T, names: readonly (keyof T & string)[]): T {
  const given = names.filter((name) => flags[name] !== undefined);
  if (given.length === 1) return flags;
  const options = names.map((name) => `--${name}`).join(', ');
  const message = given.length === 0 ? `missing rank choice: pass one of ${options}` : `pass only one of ${options}`;
  throw wrongUsage(message);
}
