import { mkdir, mkdtemp, readdir, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { isTransient } from '../checkpoint/copy/resume.js';
import { StagingFolder, workFolder } from '../checkpoint/copy/staging.js';
import { absolutePath, ioError } from '../files/files.js';
import { type Lock, lockFolder } from '../files/lock.js';
import { Decompositions } from './decompositions.js';
import { Measurements } from './measurements.js';

export interface WorkOptions {
  /** The folder to work in; it is kept. */
  readonly work?: string | undefined;
  /** The output, beside which an unfinished job is kept if no folder is given. */
  readonly out?: string | undefined;
  readonly restart?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a job keeps in its folder. */
export interface Work {
  readonly decompositions: Decompositions;
  readonly measurements: Measurements;
}

/**
 * Opens the folder of a job while `use` runs. The folder given is kept for other jobs on the same
 * model. Otherwise it lies beside the output: removed when the job succeeds or can never succeed,
 * kept when the same job may resume.
 *
 * @throws CheckpointError `ERR_OUTPUT`, kind `InUse`, while another process works in it; kind
 *   `NotOurs`; `ERR_CHECKPOINT_IO`.
 */
export async function withWork<T>(options: WorkOptions, use: (work: Work) => Promise<T>): Promise<T> {
  const { work, out, restart = false, signal } = options;
  const folder =
    work !== undefined
      ? await prepared(absolutePath(work))
      : out === undefined
        ? await mkdtemp(join(tmpdir(), 'lowrank-'))
        : await folderBeside(absolutePath(out), 'layers');
  const lock = await lockFolder(folder);
  let keep = work !== undefined;
  try {
    if (restart) await clear(folder);
    const measurements = await Measurements.open(folder);
    try {
      return await use({ decompositions: new Decompositions(folder), measurements });
    } finally {
      await measurements.close();
    }
  } catch (cause) {
    keep ||= out !== undefined && (signal?.aborted === true || isTransient(cause));
    throw cause;
  } finally {
    await end(folder, lock, keep);
  }
}

/**
 * Creates a folder beside an output, for what an unfinished job keeps.
 *
 * @param out absolute
 * @throws CheckpointError `ERR_OUTPUT`, kind `NotOurs` or `InUse`; `ERR_CHECKPOINT_IO`.
 */
export async function folderBeside(out: string, name: string): Promise<string> {
  // Checks that the folder is ours, since its name can be guessed.
  const staging = await StagingFolder.open(workFolder(out));
  try {
    return await prepared(join(staging.folder, name));
  } finally {
    await staging.leave();
  }
}

/** Removes a folder of {@link folderBeside} if nothing is left in it, and the one around it. */
export async function leaveFolder(folder: string): Promise<void> {
  await rmdir(folder)
    .then(() => rmdir(dirname(folder)))
    .catch(() => undefined);
}

async function prepared(folder: string): Promise<string> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw ioError(folder, 'cannot be created', cause);
  }
  return folder;
}

/** Removes what jobs keep, and no other file: the user chose the folder. */
async function clear(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (Decompositions.owns(name) || Measurements.owns(name)) await rm(join(folder, name), { force: true });
  }
}

async function end(folder: string, lock: Lock, keep: boolean): Promise<void> {
  if (!keep) await clear(folder);
  await lock.release();
  if (!keep) await leaveFolder(folder);
}
