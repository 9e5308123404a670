import picomatch from 'picomatch';
import { firstMatches } from '../checkpoint/bounded-match.js';
import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { ArgumentError, describe, LowRankError } from '../errors.js';

/**
 * The tensors that are called exactly so, or, if none is, those whose names a glob matches, in the checkpoint's order. Where
 * a tensor has an alias, that counts as its name too. A `*` matches any characters, dots included, in names without slashes.
 *
 * @throws {@link LowRankError} `ERR_NOT_FOUND` when there is none, `ERR_ARGUMENT` for a glob that cannot be read or takes
 * too long.
 */
export function tensorsNamed({ tensors }: Pick<Checkpoint, 'tensors'>, glob: string): TensorInfo[] {
  const all = [...tensors.values()];
  const names = all.flatMap(({ name, alias }) => (alias === undefined ? [name] : [name, alias]));
  const called = new Set(names.includes(glob) ? [glob] : matched(glob, names));
  const found = all.filter(({ name, alias }) => called.has(name) || (alias !== undefined && called.has(alias)));
  if (found.length > 0) return found;
  throw new LowRankError('ERR_NOT_FOUND', `${describe(glob)}: no tensor has such a name`, {
    hint: 'List the names with: lowrank inspect.',
  });
}

function matched(glob: string, names: readonly string[]): string[] {
  const matches = firstMatches([toRegExp(glob)], names);
  return names.filter((_, i) => matches[i] === 0);
}

function toRegExp(glob: string): RegExp {
  try {
    return picomatch.makeRe(glob, { dot: true, nonegate: true });
  } catch (cause) {
    throw new ArgumentError('tensor', `a pattern such as model.layers.3.* (${(cause as Error).message})`, glob);
  }
}
