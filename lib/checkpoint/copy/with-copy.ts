import type { Checkpoint } from '../checkpoint.js';
import { type CopyOptions, copyForEdit } from './copy-for-edit.js';
import type { EditCopy } from './edit-copy.js';
import { type OutputSummary, summariseOutput } from './output-summary.js';

export interface TransactionOptions extends CopyOptions {
  /** Called when all tensors are written, before the copy is published. */
  readonly onCommit?: () => void;
  /** After a failure of `edit`, removes even what the job could resume. */
  readonly discardOnFailure?: boolean;
}

/**
 * Copies a checkpoint to `out`, lets `edit` write tensors of the copy, and publishes it. The output
 * appears completely, after `edit` has succeeded; if anything fails, it does not appear.
 *
 * @returns the result of `edit`, and a summary of the output
 * @throws {@link CheckpointError} as {@link copyForEdit}; whatever `edit` throws; the signal's
 *   reason when aborted before the copy is published.
 */
export async function withCopy<T>(
  checkpoint: Checkpoint,
  out: string,
  options: TransactionOptions,
  edit: (copy: EditCopy) => Promise<T>,
): Promise<{ readonly result: T; readonly output: OutputSummary }> {
  const { onCommit, discardOnFailure, ...copyOptions } = options;
  const { signal } = options;
  const copy = await copyForEdit(checkpoint, out, copyOptions);
  try {
    const result = await edit(copy);
    signal?.throwIfAborted();
    onCommit?.();
    // Compute the summary before commit(): nothing after the commit may throw.
    const output = await summariseOutput(checkpoint, out);
    await copy.commit();
    return { result, output };
  } catch (error) {
    // The first failure is the one to report; cleaning up can only fail for the same reason.
    await (discardOnFailure ? copy.discard() : copy.abandon(error, signal)).catch(() => undefined);
    throw error;
  }
}
