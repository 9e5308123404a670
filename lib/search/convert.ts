import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { mainOfCopy } from '../checkpoint/copy/layouts.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import { typeChanges } from '../checkpoint/layout.js';
import { open } from '../checkpoint/open.js';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import type { StoredType } from '../tensor/dtype.js';
import type { PlannedCandidate } from './candidates.js';

/** Returns the tensors that get another type, and their new types. */
export function typesConverted(planned: readonly PlannedCandidate[]): Map<string, StoredType> {
  const edits = planned.flatMap((candidate) => candidate.edits);
  return new Map(
    edits.filter(({ dtype, writtenAs }) => dtype !== writtenAs).map(({ tensor, writtenAs }) => [tensor, writtenAs]),
  );
}

/**
 * Converts, in a copy, the quantised tensors that candidates edit to the type in which they are
 * written; quantised blocks cannot store new numbers.
 *
 * @param folder is created for the copy
 * @returns undefined if no tensor has to change
 */
export async function convertQuantised(
  source: Checkpoint,
  planned: readonly PlannedCandidate[],
  folder: string,
  signal: AbortSignal | undefined,
): Promise<Checkpoint | undefined> {
  const types = typesConverted(planned);
  if (types.size === 0) return undefined;
  const path = join(folder, basename(source.path));
  await mkdir(folder, { mode: 0o700 });
  await withCopy(source, path, { signal, changes: typeChanges(types) }, async (copy) => {
    for (const [name, type] of types) {
      signal?.throwIfAborted();
      const numbers = toFloat32(await source.read(name), source.tensors.get(name)!.dtype);
      await copy.write(name, fromFloat32(numbers, type));
    }
  });
  return open(mainOfCopy(source, path));
}
