import { join, relative } from 'node:path';
import { ArgumentError } from '../../errors.js';
import type { ByteRange, Checkpoint, FileLayout, FilePart, TensorChange } from '../checkpoint.js';
import { opensAs } from '../open.js';

/** The changes of a copy. */
export interface Changes {
  /** The tensors that will be written; by default any may be, each in its own type and place. */
  readonly changes?: ReadonlyMap<string, TensorChange>;
  /**
   * Small files that the copy gets instead of the source's, or beside them, such as `config.json`:
   * their bytes by their paths with `/`, relative to the checkpoint's folder. Their folders must
   * exist in the source. A file of the source whose bytes are undefined is left out of the copy.
   */
  readonly files?: ReadonlyMap<string, Uint8Array | undefined>;
}

/** The files of the source that the copy does not get. */
export function leftOutOf({ files = new Map() }: Changes): ReadonlySet<string> {
  return new Set([...files].flatMap(([file, data]) => (data === undefined ? [file] : [])));
}

/**
 * Lays out the files of the copy that differ from the source's.
 *
 * @returns by path in the copy: empty for a checkpoint that is a single file
 * @throws ArgumentError for small files beside a checkpoint that is a single file, or in place of
 *   weights; as {@link Checkpoint.layout}.
 */
export function layoutsOf(
  checkpoint: Checkpoint,
  isFolder: boolean,
  { changes, files = new Map() }: Changes,
): ReadonlyMap<string, FileLayout> {
  const layouts = changes === undefined ? wholeLayout(checkpoint) : checkpoint.layout(changes);
  const byPath = new Map(layouts.map((layout) => [isFolder ? layout.file : '', layout]));
  for (const [file, data] of files) {
    if (!isFolder) throw new ArgumentError('files', `none, since ${checkpoint.path} is a single file`, file);
    if (!isPathInside(file)) throw new ArgumentError('files', 'paths in the folder of the checkpoint', file);
    if (byPath.has(file)) throw new ArgumentError('files', 'other files than those of the weights', file);
    if (data !== undefined) byPath.set(file, { file, parts: [{ kind: 'bytes', data }], places: new Map() });
  }
  return byPath;
}

/** Allows any tensor to be written in place. */
function wholeLayout({ tensors }: Checkpoint): readonly FileLayout[] {
  const files = new Map<string, Map<string, ByteRange>>();
  for (const { name, file, offset, bytes } of tensors.values()) {
    const places = files.get(file) ?? new Map<string, ByteRange>();
    files.set(file, places.set(name, { offset, bytes }));
  }
  return [...files].map(([file, places]) => ({ file, parts: undefined, places }));
}

function isPathInside(path: string): boolean {
  return path.split('/').every((name) => !/^\.{0,2}$|[\\\0]/.test(name));
}

/**
 * Describes a file whose tensors keep their places as parts: the edited tensors and the stretches
 * between them.
 */
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

/** Returns the path in a copy that opens as the same model as `main` of the checkpoint. */
export function mainOfCopy({ path, main }: Checkpoint, copy: string): string {
  return join(copy, relative(path, main));
}

/**
 * Returns the shortest path that opens as the copy at `copy`: `copy` itself, unless the folder
 * would open as another model in it.
 */
export async function pathOfCopy(checkpoint: Checkpoint, copy: string): Promise<string> {
  const { path, main } = checkpoint;
  return path === main || (await opensAs(path, main)) ? copy : mainOfCopy(checkpoint, copy);
}
