import type { Dirent } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { CheckpointError, describe, LowRankError } from '../../errors.js';
import { ioError, openFile, statusOf } from '../../files/files.js';
import { digestOfJson } from '../../files/journal.js';
import { MAX_COPIED_ENTRIES, MAX_FOLDER_DEPTH } from '../../files/limits.js';
import type { Checkpoint, TensorInfo } from '../checkpoint.js';
import { open, opensAs } from '../open.js';
import { SafetensorsFile } from '../safetensors/file.js';

/** What belongs to the tools that fetched a folder, not to the model. */
const LEFT_OUT = new Set(['.git', '.cache']);
/** Unfinished work for an output in the folder itself; see `workFolder`. */
const UNFINISHED = /^\..*\.lowrank$/s;

/** A file or folder of a checkpoint that goes into a copy. */
export interface Entry {
  /** Where its bytes lie, links resolved. */
  readonly from: string;
  /** Its path in the copy, with `/` on every system; empty for the checkpoint itself. */
  readonly path: string;
  readonly folder: boolean;
  /** Bytes of a file, 0 of a folder. */
  readonly size: number;
  /** The permission bits that the copy gets at the end. */
  readonly mode: number;
}

/** The checkpoint's path without links, and whether it is a folder. */
export async function locate(checkpoint: Checkpoint): Promise<{ source: string; isFolder: boolean }> {
  const source = await realPath(checkpoint.path);
  return { source, isFolder: (await statusOf(source)).isDirectory() };
}

/**
 * All that a copy of the checkpoint consists of, outer folders before what is in them. Links to files stand for what
 * they lead to, if that is a weight file of the checkpoint, lies in the folder, or in the `blobs` of the same Hugging
 * Face cache; another link is refused, since a foreign folder could otherwise carry private files into the copy.
 *
 * @throws CheckpointError `ERR_CHECKPOINT_IO`, kinds `FolderTooDeep`, `FolderTooLarge`, `LinkOutside`, `LinkToFolder`,
 * `NotAFile` and those of the operating system.
 */
export async function listEntries(checkpoint: Checkpoint, signal?: AbortSignal): Promise<Entry[]> {
  const { source, isFolder } = await locate(checkpoint);
  if (!isFolder) return [await fileEntry(source, '')];
  const weights = new Set([...checkpoint.tensors.values()].map(({ file }) => join(source, file)));
  // <cache>/snapshots/<revision> holds links into <cache>/blobs.
  const snapshots = dirname(source);
  const blobs = basename(snapshots) === 'snapshots' ? join(dirname(snapshots), 'blobs') : undefined;
  const isOurs = (link: string, real: string) =>
    weights.has(link) || isInside(real, source) || (blobs !== undefined && isInside(real, blobs));
  const entries: Entry[] = [];

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
          hint: 'Give a folder that holds nothing but the model.',
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

/** What tells whether the weights are still those that were opened, without reading them. */
export interface Identity {
  /** Of names, sizes and times of the weight files and of all that is known of the tensors. */
  readonly digest: string;
  readonly files: readonly { readonly file: string; readonly size: string; readonly modified: string }[];
}

/** Names, sizes and times of the weight files, to the nanosecond where the file system has it. */
export async function identify(checkpoint: Checkpoint): Promise<Identity> {
  const { isFolder } = await locate(checkpoint);
  const { path, main } = checkpoint;
  const used = new Set([...checkpoint.tensors.values()].map(({ file }) => file));
  // A graph whose weights all lie elsewhere, the first of split files, an index.
  if (main !== path) used.add(relative(path, main).split(sep).join('/'));
  const names = [...used].sort();
  const files = await Promise.all(
    names.map(async (file) => {
      const path = weightFile(checkpoint, file, isFolder);
      try {
        const { size, mtimeNs } = await stat(path, { bigint: true });
        return { file, size: String(size), modified: String(mtimeNs) };
      } catch (cause) {
        throw ioError(path, 'cannot be looked up', cause);
      }
    }),
  );
  const headers = digestOfJson([checkpoint.format, ...checkpoint.tensors.values()]);
  return { digest: digestOfJson({ files, headers }), files };
}

/** @throws CheckpointError `ERR_CHECKPOINT_IO`, kind `Changed`, when a weight file is no longer what it was. */
export async function checkIdentity(checkpoint: Checkpoint, before: Identity): Promise<void> {
  const now = await identify(checkpoint);
  if (now.digest === before.digest) return;
  const index = before.files.findIndex(({ size, modified }, i) => {
    const other = now.files[i];
    return size !== other?.size || modified !== other.modified;
  });
  throw changed(checkpoint, before.files[index]?.file);
}

/**
 * New bytes go to the places that the source had when it was opened, so it must have the same ones still: opens it anew
 * and compares.
 *
 * @throws CheckpointError `ERR_CHECKPOINT_IO`, kind `Changed`.
 */
export async function checkPlaces(checkpoint: Checkpoint): Promise<void> {
  if (checkpoint.format === 'safetensors') {
    // Each file by itself: which files of a folder are the weights was decided when it was opened.
    const { isFolder } = await locate(checkpoint);
    for (const [file, expected] of byFile(checkpoint)) {
      const path = weightFile(checkpoint, file, isFolder);
      const now = await reopened(checkpoint, file, () => SafetensorsFile.open(path));
      const found = now.header.tensors.map((span) => ({
        ...{ name: span.name, bytes: span.end - span.begin },
        offset: now.offset(span),
      }));
      if (!samePlaces(found, expected)) throw changed(checkpoint, file);
    }
    return;
  }
  const now = await reopened(checkpoint, undefined, () => open(checkpoint.main));
  if (!samePlaces([...now.tensors.values()], [...checkpoint.tensors.values()])) throw changed(checkpoint, undefined);
}

async function reopened<T extends { close(): Promise<void> }>(
  checkpoint: Checkpoint,
  file: string | undefined,
  again: () => Promise<T>,
): Promise<T> {
  try {
    const now = await again();
    await now.close();
    return now;
  } catch (cause) {
    if (cause instanceof LowRankError && cause.code !== 'ERR_CHECKPOINT_IO') throw changed(checkpoint, file, cause);
    throw cause;
  }
}

type Placed = Pick<TensorInfo, 'name' | 'offset' | 'bytes'>;

function samePlaces(found: readonly Placed[], expected: readonly Placed[]): boolean {
  return (
    found.length === expected.length &&
    found.every(({ name, offset, bytes }, i) => {
      const other = expected[i]!;
      return name === other.name && offset === other.offset && bytes === other.bytes;
    })
  );
}

function byFile(checkpoint: Checkpoint): Map<string, TensorInfo[]> {
  const files = new Map<string, TensorInfo[]>();
  for (const info of checkpoint.tensors.values()) {
    const infos = files.get(info.file);
    if (infos === undefined) files.set(info.file, [info]);
    else infos.push(info);
  }
  return files;
}

/** Where a weight file of the checkpoint lies. Files are named relative to its folder, which may be what was opened. */
export function weightFile({ path }: Checkpoint, file: string, isFolder: boolean): string {
  return join(isFolder ? path : dirname(path), file);
}

/** What opens as the copy of the checkpoint that lies at `path`. */
export function mainOfCopy({ path, main }: Checkpoint, copy: string): string {
  return join(copy, relative(path, main));
}

/** The shortest path that opens as the copy at `copy`: that path, unless the folder would open as another model in it. */
export async function pathOfCopy(checkpoint: Checkpoint, copy: string): Promise<string> {
  const { path, main } = checkpoint;
  return path === main || (await opensAs(path, main)) ? copy : mainOfCopy(checkpoint, copy);
}

function changed(checkpoint: Checkpoint, file: string | undefined, cause?: unknown): CheckpointError {
  const path = file === undefined || file === basename(checkpoint.path) ? checkpoint.path : join(checkpoint.path, file);
  return new CheckpointError('ERR_CHECKPOINT_IO', 'Changed', path, 'was changed since it was opened', {
    hint: 'Let nothing write to the checkpoint meanwhile.',
    cause,
  });
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

/** Opens the file, only to refuse pipes and devices and to see the permissions. */
async function fileEntry(from: string, path: string): Promise<Entry> {
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
    const hint = 'Replace the link by the file that it leads to, or remove it.';
    throw refuse('LinkOutside', `is a link to ${describe(real)}, outside of the checkpoint`, hint);
  }
  if ((await statusOf(real)).isDirectory()) {
    const hint = 'Replace the link by the folder that it leads to, or remove it.';
    throw refuse('LinkToFolder', 'is a link to a folder, which is not followed', hint);
  }
  return real;
}
