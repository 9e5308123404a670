import { stat } from 'node:fs/promises';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { listEntries, locate } from '../checkpoint/copy/entries.js';
import { layoutsOf } from '../checkpoint/copy/layouts.js';
import { bytesInCopy } from '../checkpoint/copy/size.js';
import { typeChanges } from '../checkpoint/layout.js';
import type { Demand } from '../files/space.js';
import type { PlannedCandidate } from './candidates.js';
import { typesConverted } from './convert.js';
import { COPIED_BYTES } from './working-copy.js';

/**
 * Returns the most space that a search needs in its folder, at its end: the source with converted
 * tensors, if any; the working copy, in which weight files that no candidate writes to are links if
 * possible; and the winner.
 */
export async function searchDemand(
  checkpoint: Checkpoint,
  planned: readonly PlannedCandidate[],
  folder: string,
): Promise<Demand> {
  const { source, isFolder } = await locate(checkpoint);
  const converted = typesConverted(planned);
  const layouts = layoutsOf(checkpoint, isFolder, { changes: typeChanges(converted) });
  const edited = new Set(planned.flatMap(({ edits }) => edits.map(({ tensor }) => tensor)));
  const touched = new Set([...edited].map((tensor) => (isFolder ? checkpoint.tensors.get(tensor)!.file : '')));
  // A converted source lies in the folder itself.
  const canLink = converted.size > 0 || (await stat(source)).dev === (await stat(folder)).dev;
  let bytes = 0;
  let largest: { from: string; size: number } | undefined;
  for (const entry of await listEntries(checkpoint)) {
    const whole = bytesInCopy(entry, layouts.get(entry.path));
    const isLink = canLink && whole > COPIED_BYTES && !touched.has(entry.path);
    bytes += whole * ((converted.size > 0 ? 1 : 0) + (isLink ? 0 : 1) + 1);
    if (largest === undefined || entry.size > largest.size) largest = entry;
  }
  if (largest === undefined || converted.size > 0) return { bytes };
  // The working copy and the winner share all but the edited tensors with the source.
  const written = [...edited].reduce((sum, tensor) => sum + checkpoint.tensors.get(tensor)!.bytes, 0);
  return { bytes, shared: { from: largest.from, bytes: 2 * written } };
}
