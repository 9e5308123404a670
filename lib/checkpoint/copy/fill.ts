import { constants } from 'node:fs';
import { chmod, copyFile, type FileHandle, lstat, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { copyRange, exists, ioError, openFile, syncFolder, writeAt } from '../../files/files.js';
import type { Demand } from '../../files/space.js';
import type { FileLayout, FilePart } from '../checkpoint.js';
import type { CopyEntry, SourceEntry } from './entries.js';
import { lengthOf } from './layouts.js';
import { bytesInCopy, newFiles } from './size.js';

/** The length of a journal line with the certificates of a few matrices. */
const JOURNAL_LINE_BYTES = 2000;

/**
 * Returns the disk space that the copy still needs; files of an earlier run count as far as they
 * are written.
 *
 * @param layouts by path in the copy
 * @param pending tensors whose lines the journal still lacks; 0 without a journal
 */
export async function demandOfCopy(
  copy: string,
  entries: readonly SourceEntry[],
  layouts: ReadonlyMap<string, FileLayout>,
  pending: number,
): Promise<Demand> {
  // Any file can show whether blocks can be shared; the largest one matters most.
  let largest: SourceEntry | undefined;
  let [bytes, shared] = [0, 0];
  for (const entry of entries) {
    if (entry.folder) continue;
    const layout = layouts.get(entry.path);
    const own = bytesInCopy(entry, layout);
    const there = await allocatedBytes(join(copy, entry.path));
    bytes += Math.max(0, own - there);
    const edited = [...(layout?.places.values() ?? [])].reduce((sum, place) => sum + place.bytes, 0);
    shared += layout?.parts === undefined ? Math.min(edited, own) : Math.max(0, own - there);
    if (largest === undefined || entry.size > largest.size) largest = entry;
  }
  for (const layout of newFiles(entries, layouts)) {
    const own = bytesInCopy({ size: 0 }, layout);
    bytes += own;
    shared += own;
  }
  const journal = JOURNAL_LINE_BYTES * pending;
  return { bytes: bytes + journal, ...(largest && { shared: { from: largest.from, bytes: shared + journal } }) };
}

/** Returns the bytes that a file takes on the disk; 0 without a file. */
async function allocatedBytes(path: string): Promise<number> {
  try {
    const { blocks } = await lstat(path);
    return 512 * blocks;
  } catch {
    return 0;
  }
}

/** Copies a file, by sharing its blocks if the file system can. */
export async function copyWhole({ from, mode }: SourceEntry, to: string): Promise<void> {
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    // The copy of a read-only file must accept new bytes; sealCopy restores its permissions.
    await chmod(to, mode | 0o600);
  } catch (cause) {
    throw ioError(from, 'cannot be copied', cause);
  }
}

/** Creates a folder of the copy, and replaces a file of that name. */
export async function makeFolder(path: string): Promise<void> {
  try {
    if ((await exists(path)) && !(await lstat(path)).isDirectory()) await rm(path, { force: true });
    await mkdir(path, { mode: 0o700, recursive: true });
  } catch (cause) {
    throw ioError(path, 'cannot be created', cause);
  }
}

/**
 * Writes a file from its parts.
 *
 * @param sourceOf the path of a weight file of the source
 */
export async function assemble(
  parts: readonly FilePart[],
  to: string,
  sourceOf: (file: string) => string,
): Promise<void> {
  const sources = new Map<string, FileHandle>();
  let target: FileHandle | undefined;
  try {
    target = await open(to, 'wx', 0o600);
    let offset = 0;
    for (const part of parts) {
      if (part.kind === 'bytes') await writeAt(target, to, offset, part.data);
      else if (part.kind === 'copy') {
        const file = sourceOf(part.file);
        const handle = sources.get(file) ?? (await openFile(file)).handle;
        sources.set(file, handle);
        await copyRange({ handle, file, offset: part.offset }, { handle: target, file: to, offset }, part.bytes);
      }
      offset += lengthOf(part);
    }
    await target.truncate(offset);
  } catch (cause) {
    throw ioError(to, 'cannot be written', cause);
  } finally {
    await target?.close();
    for (const handle of sources.values()) await handle.close();
  }
}

/** Sets the permissions of files and folders, and syncs everything to the disk. */
export async function sealCopy(copy: string, entries: readonly CopyEntry[]): Promise<void> {
  for (const { path, mode, folder } of entries) {
    if (folder) continue;
    const file = join(copy, path);
    const { handle } = await openFile(file, 'r+');
    try {
      await handle.chmod(mode);
      await handle.sync();
    } catch (cause) {
      throw ioError(file, 'cannot be synced to the disk', cause);
    } finally {
      await handle.close();
    }
  }
  for (const { path, mode } of entries.filter((entry) => entry.folder).reverse()) {
    const folder = join(copy, path);
    try {
      await chmod(folder, mode);
    } catch (cause) {
      throw ioError(folder, 'its permissions cannot be set', cause);
    }
    await syncFolder(folder);
  }
}
