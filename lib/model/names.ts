import picomatch from 'picomatch';
import { firstMatches } from '../checkpoint/bounded-match.js';
import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { ArgumentError, describe, LowRankError } from '../errors.js';

/**
 * The tensors whose names a glob matches, or that are called exactly so, in the checkpoint's order. Where a tensor has an
 * alias, that counts as its name too. A `*` matches any characters, dots included, in names without slashes.
 *
 * @throws {@link LowRankError} `ERR_NOT_FOUND` when there is none, `ERR_ARGUMENT` for a glob that cannot be read or takes
 * too long.
 */
export function tensorsNamed({ tensors }: Pick<Checkpoint, 'tensors'>, glob: string): TensorInfo[] {
  const all = [...tensors.values()];
  const names = all.flatMap(({ name, alias }) => (alias === undefined ? [name] : [name, alias]));
  const pattern = toRegExp(glob);
  const matches = firstMatches([pattern], names);
  const called = new Set(names.filter((name, i) => name === glob || matches[i] === 0));
  const found = all.filter(({ name, alias }) => called.has(name) || (alias !== undefined && called.has(alias)));
  if (found.length > 0) return found;
  throw new LowRankError('ERR_NOT_FOUND', `${describe(glob)}: no tensor has such a name`, {
    hint: 'List the names with: lowrank inspect.',
  });
}

function toRegExp(glob: string): RegExp {
  try {
    return picomatch.makeRe(glob, { dot: true, nonegate: true });
  } catch (cause) {
    throw new ArgumentError('tensor', `a pattern such as model.layers.3.* (${(cause as Error).message})`, glob);
  }
}
