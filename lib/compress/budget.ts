import type { Checkpoint, TensorChange } from '../checkpoint/checkpoint.js';
import { locate, weightFile } from '../checkpoint/copy/entries.js';
import { lengthOf } from '../checkpoint/copy/layouts.js';
import { ArgumentError } from '../errors.js';
import { statusOf } from '../files/files.js';

/** How small a model is to become. Exactly one is given. */
export interface Budget {
  /**
   * The share of the numbers of the linear layers that the result holds, above 0 and up to 1, in
   * factors of the type of the weights.
   */
  keep?: number | undefined;
  /** The bytes of all weight files of the result. */
  size?: number | undefined;
  /** Bits a weight, scales and factors included, that the matrices have on average. */
  bits?: number | undefined;
  /**
   * The largest mean KL divergence from the original's outputs, in nats, measured on the texts or
   * inputs.
   */
  maxKl?: number | undefined;
}

/** The most bits of a weight: those of a float32. */
const MOST_BITS = 32;

const BUDGETS = ['keep', 'size', 'bits', 'maxKl'] as const;

/** @throws ArgumentError unless exactly one of a budget and the other options is given. */
export function requireOne<Name extends string>(
  given: Budget & Partial<Record<Name, unknown>>,
  ...others: Name[]
): void {
  const names = [...others, ...BUDGETS];
  const count = names.filter((name) => given[name] !== undefined).length;
  if (count === 1) return;
  const expected = `exactly one of ${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
  throw new ArgumentError('options', expected, count === 0 ? 'none' : 'several');
}

/** @throws ArgumentError for values out of range. */
export function checkBudget({ keep, size, bits, maxKl }: Budget): void {
  if (keep !== undefined && !(keep > 0 && keep <= 1)) {
    throw new ArgumentError('keep', 'a number above 0 and up to 1', keep);
  }
  if (size !== undefined && !(size > 0 && size < Number.POSITIVE_INFINITY)) {
    throw new ArgumentError('size', 'a number of bytes above 0', size);
  }
  if (bits !== undefined && !(bits > 0 && bits <= MOST_BITS)) {
    throw new ArgumentError('bits', `a number above 0 and up to ${MOST_BITS}`, bits);
  }
  if (maxKl !== undefined && !(maxKl > 0 && maxKl < Number.POSITIVE_INFINITY)) {
    throw new ArgumentError('maxKl', 'a number above 0', maxKl);
  }
}

/** The bytes of all weight files of a copy. */
export async function weightBytes(
  checkpoint: Checkpoint,
  changes: ReadonlyMap<string, TensorChange> = new Map(),
): Promise<number> {
  const { isFolder } = await locate(checkpoint);
  let bytes = 0;
  for (const { file, parts } of checkpoint.layout(changes)) {
    bytes +=
      parts?.reduce((sum, part) => sum + lengthOf(part), 0) ??
      (await statusOf(weightFile(checkpoint, file, isFolder))).size;
  }
  return bytes;
}
