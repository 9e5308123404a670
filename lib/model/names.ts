import picomatch from 'picomatch';
import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { describe, LowRankError } from '../errors.js';

/**
 * The tensors whose names a glob matches, or that are called exactly so, in the checkpoint's order. Where a tensor has an
 * alias, that counts as its name too. A `*` matches any characters, dots included, in names without slashes.
 *
 * @throws {@link LowRankError} `ERR_NOT_FOUND` when there is none.
 */
export function tensorsNamed({ tensors }: Pick<Checkpoint, 'tensors'>, glob: string): TensorInfo[] {
  const matches = picomatch(glob, { dot: true, nonegate: true });
  const called = (name: string | undefined) => name !== undefined && (name === glob || matches(name));
  const found = [...tensors.values()].filter(({ name, alias }) => called(name) || called(alias));
  if (found.length > 0) return found;
  throw new LowRankError('ERR_NOT_FOUND', `${describe(glob)}: no tensor has such a name`, {
    hint: 'List the names with: lowrank inspect.',
  });
}
