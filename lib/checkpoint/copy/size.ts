import { ArgumentError } from '../../errors.js';
import type { Checkpoint, FileLayout } from '../checkpoint.js';
import { type CopyEntry, listEntries, locate, type SourceEntry } from './entries.js';
import { type Changes, layoutsOf, leftOutOf, lengthOf } from './layouts.js';

/** Returns the bytes of a file in a copy; for a weight file those of its layout. */
export function bytesInCopy({ size }: Pick<SourceEntry, 'size'>, layout: FileLayout | undefined): number {
  return layout?.parts?.reduce((sum, part) => sum + lengthOf(part), 0) ?? size;
}

/**
 * Returns the files of a copy that the source lacks.
 *
 * @throws ArgumentError for a file in place of a folder, or in a missing folder.
 */
export function newFiles(
  entries: readonly CopyEntry[],
  layouts: ReadonlyMap<string, FileLayout>,
): readonly FileLayout[] {
  const isFolder = new Map(entries.map(({ path, folder }) => [path, folder]));
  return [...layouts.values()].filter(({ file }) => {
    if (isFolder.get('') === false || isFolder.get(file) === false) return false;
    const parent = file.slice(0, Math.max(0, file.lastIndexOf('/')));
    if (isFolder.has(file)) throw new ArgumentError('files', 'files, not folders of the checkpoint', file);
    if (!isFolder.get(parent)) throw new ArgumentError('files', 'files in folders of the checkpoint', file);
    return true;
  });
}

/** Returns the bytes of all files of a copy with these changes. */
export async function sizeOfCopy(checkpoint: Checkpoint, changes: Changes): Promise<number> {
  const { isFolder } = await locate(checkpoint);
  const layouts = layoutsOf(checkpoint, isFolder, changes);
  const leftOut = leftOutOf(changes);
  const entries = (await listEntries(checkpoint)).filter(({ path }) => !leftOut.has(path));
  const added = newFiles(entries, layouts).reduce((sum, layout) => sum + bytesInCopy({ size: 0 }, layout), 0);
  return entries.reduce((sum, entry) => sum + bytesInCopy(entry, layouts.get(entry.path)), added);
}
