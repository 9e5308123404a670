import { randomBytes } from 'node:crypto';
import { link, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ioError, refuseExisting, syncFolder, writeAt } from './files.js';
import { patiently } from './patiently.js';

export interface AtomicOptions {
  /** Replaces an existing file. By default that is refused. */
  readonly replace?: boolean | undefined;
}

/**
 * Writes a file so that it appears complete or not at all, even after a power loss.
 *
 * @param content the file's text or bytes; several parts are written one after the other
 * @throws {@link CheckpointError} `ERR_OUTPUT`, kind `OutputExists`, unless `replace` is given;
 *   `ERR_CHECKPOINT_IO`.
 */
export function writeAtomically(
  file: string,
  content: string | Uint8Array | readonly Uint8Array[],
  { replace = false }: AtomicOptions = {},
): Promise<void> {
  const parts = typeof content === 'string' ? [Buffer.from(content)] : [content].flat();
  return underTemporaryName(file, async (temporary) => {
    await writeSynced(temporary, file, parts);
    await (replace ? renameTo(temporary, file) : publishFile(temporary, file));
  });
}

/**
 * Creates a folder so that it appears complete or not at all.
 *
 * @param fill creates the folder under the given temporary name, and syncs its files to the disk
 * @throws {@link CheckpointError} `ERR_OUTPUT`, kind `OutputExists`; `ERR_CHECKPOINT_IO`; whatever
 *   `fill` throws.
 */
export function makeFolderAtomically(folder: string, fill: (temporary: string) => Promise<void>): Promise<void> {
  return underTemporaryName(folder, async (temporary) => {
    await fill(temporary);
    await publishFolder(temporary, folder);
  });
}

/** Publishes a finished file at `out`; never replaces an existing one. */
export async function publishFile(temporary: string, out: string): Promise<void> {
  try {
    // Unlike renaming, linking fails when the name is taken, with no gap between the check and the
    // act.
    await link(temporary, out);
  } catch {
    // The name is taken, or the file system has no hard links (FAT, some network drives).
    await refuseExisting(out);
    await renameTo(temporary, out);
    return;
  }
  // Sync before removing the other name, or a power loss could take both.
  await syncFolder(dirname(out));
  try {
    await patiently(() => rm(temporary, { force: true }));
  } catch (cause) {
    throw ioError(temporary, 'cannot be removed', cause);
  }
}

/** Publishes a finished folder at `out`; never replaces an existing one. */
export async function publishFolder(temporary: string, out: string): Promise<void> {
  // Renaming a folder replaces an empty one, so check as late as possible.
  await refuseExisting(out);
  await renameTo(temporary, out);
}

/** Removes the temporary file or folder if `make` fails. */
async function underTemporaryName(out: string, make: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = temporarySibling(out);
  try {
    await make(temporary);
  } catch (cause) {
    // Report the first failure; removing can only fail for the same reason.
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    throw cause;
  }
}

/**
 * Returns `.<name>.<random>.tmp` in the same folder, hence on the same file system, where renaming
 * is atomic. A process that dies leaves the file behind; it may be deleted.
 */
export function temporarySibling(path: string): string {
  // Shortened, because most file systems allow names of at most 255 bytes.
  return join(dirname(path), `.${basename(path).slice(0, 60)}.${randomBytes(6).toString('hex')}.tmp`);
}

/** Errors name `out`, the path that the caller knows. */
async function writeSynced(temporary: string, out: string, parts: readonly Uint8Array[]): Promise<void> {
  try {
    const handle = await open(temporary, 'wx');
    try {
      let position = 0;
      for (const part of parts) {
        await writeAt(handle, out, position, part);
        position += part.length;
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw ioError(out, 'cannot be written', cause);
  }
}

/** Renames, and makes sure that the new name survives a power loss. */
async function renameTo(temporary: string, out: string): Promise<void> {
  try {
    await patiently(() => rename(temporary, out));
  } catch (cause) {
    throw ioError(out, 'cannot be renamed from its temporary name', cause);
  }
  await syncFolder(dirname(out));
}
