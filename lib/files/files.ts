import type { Stats } from 'node:fs';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { ArgumentError, CheckpointError, LowRankError } from '../errors.js';

/** The most bytes of one call to the operating system, which takes less than 2 GiB at a time. */
const CHUNK_BYTES = 256 * 1024 * 1024;

/** An open regular file and its size when it was opened. */
export interface OpenFile {
  readonly handle: FileHandle;
  readonly size: number;
  /** The permission bits, without set-user-id and the like. */
  readonly mode: number;
}

/**
 * Opens a regular file; follows links. Refuses pipes and devices, which could block forever.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`.
 */
export async function openFile(file: string, flags: 'r' | 'r+' = 'r'): Promise<OpenFile> {
  let handle: FileHandle | undefined;
  try {
    // Non-blocking, because opening a pipe waits for its other end. It makes no difference to
    // regular files.
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
 * Reads exactly `length` bytes, also beyond 2 GiB. Reads are positional, so several may run at
 * once.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`, kind `FileShrank` if the file ends before;
 *   `ERR_MEMORY` if the buffer cannot be allocated.
 */
export async function readAt(handle: FileHandle, file: string, position: number, length: number): Promise<Uint8Array> {
  const bytes = allocate(length, file);
  await readInto(handle, file, position, bytes);
  return bytes;
}

/** Reads like {@link readAt}, into existing bytes. */
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
      const message = `ends at byte ${position + done}, expected ${expected}: it shrank while it was open`;
      throw new CheckpointError('ERR_CHECKPOINT_IO', 'FileShrank', file, message, {
        hint: 'Let nothing write to the checkpoint while a job reads it.',
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

/**
 * The size of the buffer that passes bytes on: enough for a disk's full speed, and negligible in
 * memory.
 */
const PASSING_BYTES = 8 * 1024 * 1024;

/** A position in an open file. */
export interface FilePosition {
  readonly handle: FileHandle;
  readonly file: string;
  readonly offset: number;
}

/**
 * Passes a range of a file to `take`, part by part; each part overwrites the bytes of the one
 * before.
 */
export async function passRange(
  from: FilePosition,
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

/** Copies a range of one file into another. */
export function copyRange(from: FilePosition, to: FilePosition, bytes: number): Promise<void> {
  return passRange(from, bytes, (part, done) => writeAt(to.handle, to.file, to.offset + done, part));
}

/**
 * Whether a range of a file equals a range of another, or bytes. Both files must be long enough.
 */
export async function sameRange(a: FilePosition, b: FilePosition | Uint8Array, bytes: number): Promise<boolean> {
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

/** Writes all bytes at a position, and syncs them to the disk. */
export async function writeThrough(
  handle: FileHandle,
  file: string,
  position: number,
  bytes: Uint8Array,
): Promise<void> {
  await writeAt(handle, file, position, bytes);
  await syncFile(handle, file);
}

/** Syncs the bytes of an open file to the disk. */
export async function syncFile(handle: FileHandle, file: string): Promise<void> {
  try {
    await handle.datasync();
  } catch (cause) {
    throw ioError(file, 'cannot be synced to the disk', cause);
  }
}

/** Reads a whole small file; refuses one larger than `limit` bytes with the kind `FileTooLarge`. */
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
 * Resolves a path to an absolute one. A relative path needs the working folder, which may have been
 * removed.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`; {@link ArgumentError} if `path` is not a
 *   path.
 */
export function absolutePath(path: string): string {
  requirePath(path);
  try {
    return resolve(path);
  } catch (cause) {
    throw ioError(path, 'is relative to the working folder, which cannot be found', cause);
  }
}

/** @throws {@link ArgumentError} unless `path` is a non-empty string. */
export function requirePath(path: unknown): asserts path is string {
  if (typeof path !== 'string' || path === '') throw new ArgumentError('path', 'a path', path);
}

/**
 * Returns the status of a path, following links.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`.
 */
export async function statusOf(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (cause) {
    throw ioError(path, 'cannot be looked up', cause);
  }
}

/** Whether the name exists, even as a broken link. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return false;
    throw ioError(path, 'cannot be looked up', cause);
  }
}

/** Whether this is a regular file; links are not followed. */
export async function isRegularFile(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isFile();
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT') return false;
    throw ioError(path, 'cannot be looked up', cause);
  }
}

/** Refuses an output path that exists. */
export async function refuseExisting(out: string): Promise<void> {
  if (await exists(out)) {
    throw new CheckpointError('ERR_OUTPUT', 'OutputExists', out, 'already exists', {
      hint: 'Choose another path, or delete it first.',
    });
  }
}

/** Syncs a folder's entries to the disk. */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (cause) {
    // Windows and some network file systems cannot sync folders; there it is unnecessary or
    // impossible.
    const code = errorCode(cause);
    if (code !== 'EPERM' && code !== 'EISDIR' && code !== 'EINVAL' && code !== 'EACCES' && code !== 'ENOTSUP') {
      throw ioError(folder, 'cannot be synced to the disk', cause);
    }
  }
}

/**
 * Converts an error of the operating system to ours, naming the file. Returns errors of this
 * package unchanged.
 */
export function ioError(file: string, action: string, cause: unknown): LowRankError {
  if (cause instanceof LowRankError) return cause;
  const code = errorCode(cause);
  const [kind, reason, hint] = REASONS[code ?? ''] ?? ['IoError', code ?? String(cause), undefined];
  return new CheckpointError('ERR_CHECKPOINT_IO', kind, file, `${action}: ${reason}`, { hint, cause });
}

const REASONS: Record<string, [kind: string, reason: string, hint: string]> = {
  ENOENT: ['NotFound', 'no such file or folder', 'Check the path.'],
  ENOTDIR: ['NotFound', 'a part of the path is not a folder', 'Check the path.'],
  EACCES: ['NoPermission', 'permission denied', 'Check the permissions of the file and its folder.'],
  EPERM: ['NoPermission', 'operation not permitted', 'Check the permissions of the file and its folder.'],
  EBUSY: ['InUse', 'another program uses it', 'Close the program that has the file or folder open, then try again.'],
  EROFS: ['NoPermission', 'the file system is read-only', 'Write somewhere else.'],
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
    throw new LowRankError('ERR_MEMORY', `${file}: cannot allocate ${length} bytes at once`, {
      hint: 'Newer versions of Node.js allow larger arrays than version 20.',
      cause,
    });
  }
}
