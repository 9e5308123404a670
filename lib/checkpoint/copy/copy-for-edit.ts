import { exists, ioError } from '../../files/files.js';
import type { Checkpoint } from '../checkpoint.js';
import { EditCopy } from './edit-copy.js';
import { identify } from './identity.js';
import { type Changes, layoutsOf, leftOutOf } from './layouts.js';
import { requireOutput } from './output.js';
import type { ResumableJob } from './resume.js';
import { StagingFolder, workFolder } from './staging.js';

export interface CopyOptions extends Changes {
  /**
   * Stops the copying between two files; calls that wait for the copy are rejected with the
   * signal's reason.
   */
  readonly signal?: AbortSignal;
  /** Without a job, nothing can be resumed, and a failure leaves nothing behind. */
  readonly job?: ResumableJob;
  /** Discards what this or another job has left unfinished for the same output. */
  readonly restart?: boolean;
  /** Called after all checks, before the first file is created. */
  readonly onCopy?: () => void;
}

/**
 * Copies a checkpoint to `out`, so that tensors can be replaced in the copy. The copy is made in
 * the folder `.<name>.lowrank` beside `out`; {@link EditCopy.commit} publishes it as a whole. The
 * source is never written to. If the file system can share blocks (Btrfs, XFS, APFS), the copy
 * takes no space until it is changed.
 *
 * A folder becomes a folder, with all its other files (configuration, tokenizer, folders inside)
 * except `.git`, `.cache` and unfinished work. A single file becomes a single file, whatever the
 * ending of `out`. A link to a file is replaced by a copy of its target, if that is a weight file
 * of the checkpoint, or lies in the folder or in the `blobs` of the same Hugging Face cache; other
 * links, and links to folders, are refused. Permissions of files are kept.
 *
 * With a `job`, a journal records the finished parts. When the same job runs again, it finds the
 * journal, verifies every entry against the source and the digests in the journal, and does only
 * the rest.
 *
 * @throws {@link CheckpointError} `ERR_OUTPUT` if `out` exists (kind `OutputExists`), is the source
 *   or lies in it, has no parent folder, names a folder for a file (`OutputIsFolder`) or a file for
 *   a folder (`OutputIsFile`), if another process writes to it (`InUse`) or another job started it
 *   (`UnfinishedWork`); `ERR_CHECKPOINT_IO` if the disk lacks room (`NoSpace`), something cannot be
 *   copied, or the source changes meanwhile (`Changed`).
 */
export async function copyForEdit(checkpoint: Checkpoint, out: string, options: CopyOptions = {}): Promise<EditCopy> {
  const { signal, job, restart = false } = options;
  const { target, isFolder } = await requireOutput(checkpoint, out);
  signal?.throwIfAborted();
  const layouts = layoutsOf(checkpoint, isFolder, options);
  const identity = await identify(checkpoint);
  const copy = new EditCopy(
    checkpoint,
    target,
    isFolder,
    await StagingFolder.open(workFolder(target)),
    identity,
    layouts,
    leftOutOf(options),
  );
  try {
    await copy.begin(job, restart, await exists(target));
    if (!copy.isFinished) await copy.fill(signal, options.onCopy);
  } catch (cause) {
    await copy.abandon(cause, signal).catch(() => undefined);
    throw signal?.aborted && cause === signal.reason ? cause : ioError(target, 'cannot be written', cause);
  }
  return copy;
}
