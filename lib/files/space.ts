import { constants } from 'node:fs';
import { copyFile, rm, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CheckpointError } from '../errors.js';
import { formatBytes } from '../text/format.js';
import { temporarySibling } from './atomic.js';

/** What a job is about to write. */
export interface Demand {
  /** In the folder, or in folders inside of it. */
  readonly bytes: number;
  /** Where the file system can share blocks with a file: that file, and the bytes that are needed then. */
  readonly shared?: { readonly from: string; readonly bytes: number };
}

/**
 * Checks that a job's output will fit, before the job spends its time. Not proof against others that write meanwhile, nor
 * against quotas: a disk that is full all the same is an error of its own, later.
 *
 * @param out the output, for the message; it lies in a folder that is there
 * @throws CheckpointError `ERR_CHECKPOINT_IO`, kind `NoSpace`, with the bytes that are needed and those that are free.
 */
export async function requireSpace(out: string, { bytes, shared }: Demand): Promise<void> {
  const folder = dirname(out);
  const free = await freeBytes(folder);
  if (free === undefined || bytes <= free) return;
  const needed = shared !== undefined && (await sharesBlocks(shared.from, out)) ? shared.bytes : bytes;
  if (needed <= free) return;
  const message = `no space left on the disk: ${needed} bytes are needed, ${free} are free`;
  throw new CheckpointError('ERR_CHECKPOINT_IO', 'NoSpace', out, message, {
    hint: `Free ${formatBytes(needed - free)}, or write to another disk.`,
  });
}

/** Undefined where the file system does not say. */
async function freeBytes(folder: string): Promise<number | undefined> {
  try {
    const { blocks, bavail, bfree, bsize } = await statfs(folder, { bigint: true });
    // Some file systems of networks and of user space say 0 of everything.
    if (blocks === 0n) return undefined;
    // What is reserved for root, root can use.
    return Number((process.getuid?.() === 0 ? bfree : bavail) * bsize);
  } catch {
    return undefined;
  }
}

/** Whether copies of a file beside `out` cost nothing until they are changed (Btrfs, XFS, APFS); tried, since nothing says so. */
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
