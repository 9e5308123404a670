import { mkdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { mainOfCopy } from '../checkpoint/copy/places.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import { typeChanges } from '../checkpoint/layout.js';
import { open } from '../checkpoint/open.js';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import type { StoredType } from '../tensor/dtype.js';
import type { PlannedCandidate } from './candidates.js';

/** The tensors that take on another type, and which. */
export function typesConverted(planned: readonly PlannedCandidate[]): Map<string, StoredType> {
  const edits = planned.flatMap((candidate) => candidate.edits);
  return new Map(
    edits.filter(({ dtype, writtenAs }) => dtype !== writtenAs).map(({ tensor, writtenAs }) => [tensor, writtenAs]),
  );
}

/**
 * Turns the quantised tensors that candidates edit into the type that they are written as, in a copy; quantised blocks take no
 * new numbers.
 *
 * @param folder is made for the copy
 * @returns undefined where no tensor has to change
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
