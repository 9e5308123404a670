import type { StoredType } from '../../tensor/dtype.js';
import type { Checkpoint, FileLayout } from '../checkpoint.js';
import { type Entry, listEntries, locate } from './entries.js';
import { lengthOf } from './places.js';

/** Bytes of a file in a copy, of a weight file with its layout. */
export function bytesInCopy({ size }: Entry, layout: FileLayout | undefined): number {
  return layout?.parts?.reduce((sum, part) => sum + lengthOf(part), 0) ?? size;
}

/** Bytes of all files of a copy in which these tensors have these types. */
export async function sizeOfCopy(checkpoint: Checkpoint, edited: ReadonlyMap<string, StoredType>): Promise<number> {
  const { isFolder } = await locate(checkpoint);
  const layouts = new Map(checkpoint.layout(edited).map((layout) => [isFolder ? layout.file : '', layout]));
  const entries = await listEntries(checkpoint);
  return entries.reduce((sum, entry) => sum + bytesInCopy(entry, layouts.get(entry.path)), 0);
}
