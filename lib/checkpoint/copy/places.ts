import { join, relative } from 'node:path';
import type { StoredType } from '../../tensor/dtype.js';
import type { Checkpoint, FileLayout, FilePart, Place } from '../checkpoint.js';
import { opensAs } from '../open.js';

/**
 * Lays out the weight files of the copy.
 *
 * @param edited the tensors that will be written and their types; by default any may be, each at the place that it has
 */
export function layoutsOf(
  checkpoint: Checkpoint,
  edited: ReadonlyMap<string, StoredType> | undefined,
): readonly FileLayout[] {
  if (edited !== undefined) return checkpoint.layout(edited);
  const files = new Map<string, Map<string, Place>>();
  for (const { name, file, offset, bytes } of checkpoint.tensors.values()) {
    const places = files.get(file) ?? new Map<string, Place>();
    files.set(file, places.set(name, { offset, bytes }));
  }
  return [...files].map(([file, places]) => ({ file, parts: undefined, places }));
}

/** Describes a file whose tensors keep their places as parts: the edited tensors and the stretches between them. */
export function partsAround({ file, places }: FileLayout, size: number): FilePart[] {
  const parts: FilePart[] = [];
  let offset = 0;
  const ordered = [...places].sort(([, a], [, b]) => a.offset - b.offset);
  for (const [name, place] of ordered) {
    // Tensors that share their bytes overlap.
    if (place.offset + place.bytes <= offset) continue;
    if (place.offset > offset) parts.push({ kind: 'copy', file, offset, bytes: place.offset - offset });
    const begin = Math.max(offset, place.offset);
    parts.push({ kind: 'tensor', name, bytes: place.offset + place.bytes - begin });
    offset = place.offset + place.bytes;
  }
  if (offset < size) parts.push({ kind: 'copy', file, offset, bytes: size - offset });
  return parts;
}

export function lengthOf(part: FilePart): number {
  return part.kind === 'bytes' ? part.data.length : part.bytes;
}

/** The path in a copy that opens as the same model as `main` of the checkpoint. */
export function mainOfCopy({ path, main }: Checkpoint, copy: string): string {
  return join(copy, relative(path, main));
}

/** The shortest path that opens as the copy at `copy`: `copy` itself, unless the folder would open as another model in it. */
export async function pathOfCopy(checkpoint: Checkpoint, copy: string): Promise<string> {
  const { path, main } = checkpoint;
  return path === main || (await opensAs(path, main)) ? copy : mainOfCopy(checkpoint, copy);
}
