import { constants } from 'node:fs';
import { copyFile, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CheckpointError } from '../errors.js';
import { formatBytes } from '../text/format.js';
import { temporarySibling } from './atomic.js';

/** The disk space that a job needs. */
export interface Demand {
  /** Bytes written to the folder, or to folders inside it. */
  readonly bytes: number;
  /** If the file system can share blocks with the file `from`, only these bytes are needed. */
  readonly shared?: { readonly from: string; readonly bytes: number };
}

/**
 * Checks that a job's output will fit before the job spends its time. Other processes may still
 * fill the disk meanwhile, and quotas are not checked; then writing fails with its own error.
 *
 * @param out the output, for the message; its folder exists
 * @throws CheckpointError `ERR_CHECKPOINT_IO`, kind `NoSpace`, with the bytes that are needed and
 *   those that are free.
 */
export async function requireSpace(out: string, { bytes, shared }: Demand): Promise<void> {
  const folder = dirname(out);
  const free = await freeBytes(folder);
  if (free === undefined || bytes <= free) return;
  const needed = shared !== undefined && (await sharesBlocks(shared.from, out)) ? shared.bytes : bytes;
  if (needed <= free) return;
  const message = `no space left on the disk: ${needed} bytes needed, ${free} free`;
  throw new CheckpointError('ERR_CHECKPOINT_IO', 'NoSpace', out, message, {
    hint: `Free ${formatBytes(needed - free)}, or write to another disk.`,
  });
}

/** Returns undefined if the file system does not report its free space. */
async function freeBytes(folder: string): Promise<number | undefined> {
  try {
    const { blocks, bavail, bfree, bsize } = await statfs(folder, { bigint: true });
    // Some network and user-space file systems report 0 for everything.
    if (blocks === 0n) return undefined;
    // Root can use the space that is reserved for root.
    return Number((process.getuid?.() === 0 ? bfree : bavail) * bsize);
  } catch {
    return undefined;
  }
}

/**
 * Whether copies of a file beside `out` take no space until they are changed (Btrfs, XFS, APFS). No
 * call reports this, so it is tried.
 */
async function sharesBlocks(from: string, out: string): Promise<boolean> {
  const probe = temporarySibling(out);
  try {
    await copyFile(from, probe, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false;
  } finally {
    await rm(probe, { force: true }).catch(() => undefined);
  }
}
