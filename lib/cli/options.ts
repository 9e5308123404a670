import { InvalidArgumentError, Option } from 'commander';
import { FORMATS_IN_WORDS } from '../checkpoint/formats.js';
import { LowRankError } from '../errors.js';
import { METHODS } from '../lowrank/approximate.js';
import { FAMILIES } from '../model/families/families.js';
import { QUANT_TYPES } from '../tensor/dtype.js';

/** Collects the values of an option that may be repeated. */
export function collect(value: string, earlier: readonly string[] = []): string[] {
  return [...earlier, value];
}

export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`Expected a whole number of at least ${least}.`);
  };
}

export function decimal(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (Number.isFinite(value)) return value;
  throw new InvalidArgumentError('Expected a number.');
}

/** Describes the checkpoint of a command that edits a copy of it. */
export const CHECKPOINT = `${FORMATS_IN_WORDS} file, or a folder; never modified`;

// Options of several commands. Those that are described alike everywhere take no description.

export function familyOption(): Option {
  return new Option('--family <name>', 'model family, if config.json does not name it').choices(
    FAMILIES.map(({ name }) => name),
  );
}

export function methodOption(): Option {
  return new Option('--method <method>', 'decomposition method').choices(METHODS).default('auto');
}

export function threadsOption(description = 'number of threads for linear algebra'): Option {
  return new Option('--threads <n>', description).argParser(wholeNumber(1));
}

export function seedOption(description: string): Option {
  return new Option('--seed <n>', description).argParser(wholeNumber(0));
}

export function quantOption(description: string): Option {
  return new Option('--quant <type>', description).choices(QUANT_TYPES);
}

export function sharedOption(): Option {
  return new Option('--shared', 'allow editing an ONNX weight that is used in several places; changes all of them');
}

/** @param ended how jobs end that leave unfinished work */
export function restartOption(ended: 'stopped' | 'killed' = 'stopped'): Option {
  return new Option('--restart', `discard the unfinished work of a ${ended} job and start again`);
}

export function dryRunOption(): Option {
  return new Option('--dry-run', 'print the plan without writing anything');
}

export function jsonOption(): Option {
  return new Option('--json', 'print one JSON document on standard output');
}

/** The error for arguments that contradict each other, or lack something. */
export function wrongUsage(message: string, hint?: string): LowRankError {
  return new LowRankError('ERR_ARGUMENT', message, hint === undefined ? {} : { hint });
}

/** @throws {@link LowRankError} `ERR_ARGUMENT` without an output path. */
export function requireOut(out: string | undefined, instead = ''): string {
  if (out !== undefined) return out;
  throw wrongUsage(`missing output path: pass -o <path>${instead}`);
}
