import type { Stats } from 'node:fs';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ArgumentError, CheckpointError, LowRankError } from '../errors.js';

/** Bytes of one call to the operating system, which takes less than 2 GiB at a time. */
const CHUNK_BYTES = 256 * 1024 * 1024;

/** An open regular file and its size at that moment. */
export interface OpenFile {
  readonly handle: FileHandle;
  readonly size: number;
  /** The permission bits, without set-user-id and the like. */
  readonly mode: number;
}

/**
 * Opens a regular file; links are followed. A pipe or device is refused: it could block for ever.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`.
 */
export async function openFile(file: string, flags: 'r' | 'r+' = 'r'): Promise<OpenFile> {
  let handle: FileHandle | undefined;
  try {
    // Non-blocking, because the mere opening of a pipe waits for its other end. Regular files do not know the difference.
    handle = await open(file, (flags === 'r' ? constants.O_RDONLY : constants.O_RDWR) | (constants.O_NONBLOCK ?? 0));
    const status = await handle.stat();
    if (!status.isFile()) {
      throw new CheckpointError('ERR_CHECKPOINT_IO', 'NotAFile', file, 'expected a regular file');
    }
    return { handle, size: status.size, mode: status.mode & 0o777 };
  } catch (cause) {
    await handle?.close();
    throw ioError(file, 'cannot be opened', cause);
  }
}

/**
 * Reads exactly `length` bytes. Positional, so several reads may run at once, and beyond 2 GiB.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`, kind `FileShrank` when the file ends before; `ERR_MEMORY` when
 * so many bytes cannot be had.
 */
export async function readAt(handle: FileHandle, file: string, position: number, length: number): Promise<Uint8Array> {
  const bytes = allocate(length, file);
  await readInto(handle, file, position, bytes);
  return bytes;
}

/** As {@link readAt}, into bytes that are there. */
async function readInto(handle: FileHandle, file: string, position: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const chunk = bytes.subarray(done, done + CHUNK_BYTES);
    let count: number;
    try {
      count = (await handle.read(chunk, 0, chunk.length, position + done)).bytesRead;
    } catch (cause) {
      throw ioError(file, 'cannot be read', cause);
    }
    if (count === 0) {
      const expected = position + bytes.length;
      const message = `ends at byte ${position + done}, expected ${expected}: it became shorter while it was open`;
      throw new CheckpointError('ERR_CHECKPOINT_IO', 'FileShrank', file, message, {
        hint: 'Let nothing write to the checkpoint meanwhile.',
      });
    }
    done += count;
  }
}

/** Writes all bytes at a position. */
export async function writeAt(handle: FileHandle, file: string, position: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const chunk = bytes.subarray(done, done + CHUNK_BYTES);
    try {
      done += (await handle.write(chunk, 0, chunk.length, position + done)).bytesWritten;
    } catch (cause) {
      throw ioError(file, 'cannot be written', cause);
    }
  }
}

/** At a time, in a buffer that is used again: enough for a disk's full speed, and nothing that counts in memory. */
const PASSING_BYTES = 8 * 1024 * 1024;

/** A position in an open file. */
export interface Spot {
  readonly handle: FileHandle;
  readonly file: string;
  readonly offset: number;
}

/** Gives a stretch of a file to `take`, part by part; the part's bytes are overwritten by the next one. */
export async function passRange(
  from: Spot,
  bytes: number,
  take: (part: Uint8Array, done: number) => Promise<void>,
): Promise<void> {
  const buffer = new Uint8Array(Math.min(PASSING_BYTES, bytes));
  for (let done = 0; done < bytes; done += buffer.length) {
    const part = buffer.subarray(0, Math.min(buffer.length, bytes - done));
    await readInto(from.handle, from.file, from.offset + done, part);
    await take(part, done);
  }
}

/** Copies a stretch of one file into another. */
export function copyRange(from: Spot, to: Spot, bytes: number): Promise<void> {
  return passRange(from, bytes, (part, done) => writeAt(to.handle, to.file, to.offset + done, part));
}

/** Whether a stretch of a file is equal to one of another, or to bytes. Both files must be long enough. */
export async function sameRange(a: Spot, b: Spot | Uint8Array, bytes: number): Promise<boolean> {
  const buffer = new Uint8Array(b instanceof Uint8Array ? 0 : Math.min(PASSING_BYTES, bytes));
  let same = true;
  await passRange(a, bytes, async (ours, done) => {
    if (!same) return;
    let theirs: Uint8Array;
    if (b instanceof Uint8Array) theirs = b.subarray(done, done + ours.length);
    else {
      theirs = buffer.subarray(0, ours.length);
      await readInto(b.handle, b.file, b.offset + done, theirs);
    }
    same = Buffer.compare(ours, theirs) === 0;
  });
  return same;
}

/** Writes all bytes at a position, and returns when they are on the disk. */
export async function writeThrough(
  handle: FileHandle,
  file: string,
  position: number,
  bytes: Uint8Array,
): Promise<void> {
  await writeAt(handle, file, position, bytes);
  await syncFile(handle, file);
}

/** Brings the bytes of an open file to the disk. */
export async function syncFile(handle: FileHandle, file: string): Promise<void> {
  try {
    await handle.datasync();
  } catch (cause) {
    throw ioError(file, 'cannot be brought to the disk', cause);
  }
}

/** Reads a whole file of text; one larger than `limit` bytes is refused with the kind `FileTooLarge`. */
export async function readSmallFile(file: string, limit: number): Promise<Uint8Array> {
  const { handle, size } = await openFile(file);
  try {
    if (size > limit) {
      const message = `has ${size} bytes, expected at most ${limit}`;
      throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'FileTooLarge', file, message);
    }
    return await readAt(handle, file, 0, size);
  } finally {
    await handle.close();
  }
}

/**
 * A path from the root on. A relative one needs the working folder, which somebody may have removed.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`; {@link ArgumentError} if `path` is not a path.
 */
export function absolutePath(path: string): string {
  requirePath(path);
  try {
    return resolve(path);
  } catch (cause) {
    throw ioError(path, 'is relative to the working folder, which cannot be looked up', cause);
  }
}

/** @throws {@link ArgumentError} unless `path` is a non-empty string. */
export function requirePath(path: unknown): asserts path is string {
  if (typeof path !== 'string' || path === '') throw new ArgumentError('path', 'a path', path);
}

/** What a path leads to, links followed. @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`. */
export async function statusOf(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (cause) {
    throw ioError(path, 'cannot be looked up', cause);
  }
}

/** Whether something of that name exists, be it only a link that leads nowhere. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return false;
    throw ioError(path, 'cannot be looked up', cause);
  }
}

/** Whether there is a regular file of that name; links are not followed. */
export async function isRegularFile(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isFile();
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return false;
    throw ioError(path, 'cannot be looked up', cause);
  }
}

/** Refuses an output path that is taken. */
export async function refuseExisting(out: string): Promise<void> {
  if (await exists(out)) {
    throw new CheckpointError('ERR_OUTPUT', 'OutputExists', out, 'is there already', {
      hint: 'Give another path, or delete it first.',
    });
  }
}

/** Brings a folder's entries to the disk. */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    // Windows and some network file systems do not offer this for folders; there it is not needed or not possible.
    const code = errorCode(cause);
    if (code !== 'EPERM' && code !== 'EISDIR' && code !== 'EINVAL' && code !== 'EACCES' && code !== 'ENOTSUP') {
      throw ioError(folder, 'cannot be brought to the disk', cause);
    }
  }
}

/** An error of the operating system as ours, naming the file. Errors of this package go through unchanged. */
export function ioError(file: string, action: string, cause: unknown): LowRankError {
  if (cause instanceof LowRankError) return cause;
  const code = errorCode(cause);
  const [kind, reason, hint] = REASONS[code ?? ''] ?? ['IoError', code ?? String(cause), undefined];
  return new CheckpointError('ERR_CHECKPOINT_IO', kind, file, `${action}: ${reason}`, { hint, cause });
}

const REASONS: Record<string, [kind: string, reason: string, hint: string]> = {
  ENOENT: ['NotFound', 'no such file or folder', 'Check the path.'],
  ENOTDIR: ['NotFound', 'a part of the path is no folder', 'Check the path.'],
  EACCES: ['NoPermission', 'permission denied', 'Check the permissions of the file and its folder.'],
  EPERM: ['NoPermission', 'operation not permitted', 'Check the permissions of the file and its folder.'],
  EROFS: ['NoPermission', 'the file system is read-only', 'Write to another place.'],
  ENOSPC: ['NoSpace', 'no space left on the disk', 'Free some space, or write to another disk.'],
  EDQUOT: ['NoSpace', 'the disk quota is used up', 'Free some space, or write to another disk.'],
  EMFILE: ['TooManyOpenFiles', 'too many open files', 'Raise the limit of open files (ulimit -n).'],
};

function errorCode(cause: unknown): string | undefined {
  return (cause as NodeJS.ErrnoException | null)?.code;
}

function allocate(length: number, file: string): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    throw new LowRankError('ERR_MEMORY', `${file}: ${length} bytes cannot be had at once`, {
      hint: 'Newer versions of Node.js allow larger arrays than version 20.',
      cause,
    });
  }
}
