import type { Dirent } from 'node:fs';
import { readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, sep } from 'node:path';
import { CheckpointError, describe } from '../../errors.js';
import { ioError, openFile, statusOf } from '../../files/files.js';
import { MAX_COPIED_ENTRIES, MAX_FOLDER_DEPTH } from '../../files/limits.js';
import type { Checkpoint } from '../checkpoint.js';

/** Folders of the tools that fetched the checkpoint; they are not part of the model. */
const LEFT_OUT = new Set(['.git', '.cache']);
/** Unfinished work for an output in the folder itself; see `workFolder`. */
const UNFINISHED = /^\..*\.lowrank$/s;

/** A file or folder of a copy. */
export interface CopyEntry {
  /** Its path in the copy, with `/` on every system; empty for the checkpoint itself. */
  readonly path: string;
  readonly folder: boolean;
  /** The permission bits that the copy gets at the end. */
  readonly mode: number;
}

/** A file or folder of a checkpoint that goes into a copy. */
export interface SourceEntry extends CopyEntry {
  /** The path of its bytes, with links resolved. */
  readonly from: string;
  /** Bytes of a file, 0 of a folder. */
  readonly size: number;
}

/** Resolves links in the checkpoint's path, and returns whether it is a folder. */
export async function locate(checkpoint: Pick<Checkpoint, 'path'>): Promise<{ source: string; isFolder: boolean }> {
  const source = await realPath(checkpoint.path);
  return { source, isFolder: (await statusOf(source)).isDirectory() };
}

/**
 * Lists the files and folders of a copy of the checkpoint, each folder before its contents. A link
 * to a file is followed if its target is a weight file of the checkpoint, or lies in the folder or
 * in the `blobs` of the same Hugging Face cache. Other links are refused: a downloaded folder could
 * otherwise pull private files into the copy.
 *
 * @throws CheckpointError `ERR_CHECKPOINT_IO`, kinds `FolderTooDeep`, `FolderTooLarge`,
 *   `LinkOutside`, `LinkToFolder`, `NotAFile` and those of the operating system.
 */
export async function listEntries(
  checkpoint: Pick<Checkpoint, 'path' | 'tensors'>,
  signal?: AbortSignal,
): Promise<SourceEntry[]> {
  const { source, isFolder } = await locate(checkpoint);
  if (!isFolder) return [await fileEntry(source, '')];
  const weights = new Set([...checkpoint.tensors.values()].map(({ file }) => join(source, file)));
  // <cache>/snapshots/<revision> holds links into <cache>/blobs.
  const snapshots = dirname(source);
  const blobs = basename(snapshots) === 'snapshots' ? join(dirname(snapshots), 'blobs') : undefined;
  const isOurs = (link: string, real: string) =>
    weights.has(link) || isInside(real, source) || (blobs !== undefined && isInside(real, blobs));
  const entries: SourceEntry[] = [];

  const visit = async (folder: string, path: string, depth: number): Promise<void> => {
    if (depth > MAX_FOLDER_DEPTH) {
      const message = `more than ${MAX_FOLDER_DEPTH} folders inside each other`;
      throw new CheckpointError('ERR_CHECKPOINT_IO', 'FolderTooDeep', folder, message);
    }
    // The copy's folders stay writable for their owner, or they could not be removed again.
    entries.push({ from: folder, path, folder: true, size: 0, mode: ((await statusOf(folder)).mode & 0o777) | 0o700 });
    for (const entry of await listFolder(folder)) {
      if (LEFT_OUT.has(entry.name) || UNFINISHED.test(entry.name)) continue;
      signal?.throwIfAborted();
      if (entries.length > MAX_COPIED_ENTRIES) {
        const message = `has more than ${MAX_COPIED_ENTRIES} files`;
        throw new CheckpointError('ERR_CHECKPOINT_IO', 'FolderTooLarge', source, message, {
          hint: 'Pass a folder that contains only the model.',
        });
      }
      const from = join(folder, entry.name);
      const to = path === '' ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory()) await visit(from, to, depth + 1);
      else if (entry.isSymbolicLink()) entries.push(await fileEntry(await followLink(from, isOurs), to));
      else entries.push(await fileEntry(from, to));
    }
  };
  await visit(source, '', 0);
  return entries;
}

/**
 * Returns the entries of files that the source lacks. They get the permissions of a file of the
 * checkpoint.
 */
export function newEntries(files: readonly { readonly file: string }[], entries: readonly CopyEntry[]): CopyEntry[] {
  const { mode } = entries.find(({ folder }) => !folder)!;
  return files.map(({ file }) => ({ path: file, folder: false, mode }));
}

/**
 * Returns the path of a weight file. Its name is relative to the checkpoint's folder, which may
 * differ from the opened path.
 */
export function weightFile({ path }: Checkpoint, file: string, isFolder: boolean): string {
  return join(isFolder ? path : dirname(path), file);
}

export function isInside(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (cause) {
    throw ioError(path, 'cannot be opened', cause);
  }
}

/** Opens the file only to refuse pipes and devices and to read its permissions. */
async function fileEntry(from: string, path: string): Promise<SourceEntry> {
  const { handle, size, mode } = await openFile(from);
  await handle.close();
  return { from, path, folder: false, size, mode };
}

async function listFolder(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (cause) {
    throw ioError(folder, 'cannot be listed', cause);
  }
}

async function followLink(link: string, isOurs: (link: string, real: string) => boolean): Promise<string> {
  const real = await realPath(link);
  const refuse = (kind: string, message: string, hint: string) =>
    new CheckpointError('ERR_CHECKPOINT_IO', kind, link, message, { hint });
  if (!isOurs(link, real)) {
    const hint = 'Replace the link with its target file, or remove it.';
    throw refuse('LinkOutside', `is a link to ${describe(real)}, outside the checkpoint`, hint);
  }
  if ((await statusOf(real)).isDirectory()) {
    const hint = 'Replace the link with its target folder, or remove it.';
    throw refuse('LinkToFolder', 'is a link to a folder, which is not followed', hint);
  }
  return real;
}
