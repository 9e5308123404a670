import type { ResumedWork } from '../checkpoint/copy/edit-copy.js';
import { requireOutput } from '../checkpoint/copy/output.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import { type TransactionOptions, withCopy } from '../checkpoint/copy/with-copy.js';
import { type EditedMatrix, unchanged } from '../edit/apply-to-tensor.js';
import { checksOf } from '../edit/edit-checkpoint.js';
import { absolutePath } from '../files/files.js';
import { digestOf } from '../files/journal.js';
import { byTensor, changes, nameOf, tensorChanges } from '../interventions/edit.js';
import type { ComputeOptions } from '../lowrank/approximate.js';
import { boolean, checkOptions, type OptionTypes, text } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import { storedBytes } from '../tensor/block-slice.js';
import { elements } from '../tensor/tensor.js';
import { openPlan, readPlan, tasksOfShards } from './job-plan.js';
import { missingResults } from './missing-results.js';
import { Results } from './results.js';

export interface MergeShardsOptions extends Pick<ComputeOptions, 'signal'> {
  /** The path in the plan by default. */
  readonly out?: string;
  /** The checkpoint's path on this machine, if it is not that of the plan. */
  readonly source?: string;
  /** Discards what an interrupted merge has left for the same output, instead of resuming it. */
  readonly restart?: boolean;
  readonly onProgress?: (progress: EditProgress) => void;
}

const MERGE_OPTIONS: OptionTypes<MergeShardsOptions> = {
  out: text,
  source: text,
  restart: boolean,
  ...JOB_OPTIONS,
};

/** The merged output. */
export interface MergeShardsReport extends OutputSummary {
  readonly source: string;
  readonly family: string | undefined;
  readonly edits: readonly EditedMatrix[];
  readonly resumed: ResumedWork | undefined;
  /**
   * The kernels of the machines that computed; with several, the bytes may differ from those of one
   * machine.
   */
  readonly kernels: readonly string[];
  readonly seconds: number;
}

/**
 * Merges the results of all shards of a plan. Every result is verified against its digest, and
 * against the tensor in the source that it was made from. If all machines have the same kernels,
 * the result is to the last byte what `editCheckpoint` writes with the same options and the plan's
 * threads.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`, kind `MissingResults`, naming the missing
 *   tasks and their shards; as {@link editCheckpoint}.
 */
export async function mergeShards(plan: string, options?: MergeShardsOptions): Promise<MergeShardsReport> {
  const given = checkOptions(options, MERGE_OPTIONS, 'mergeShards');
  const { signal, restart } = given;
  signal?.throwIfAborted();
  const job = await readPlan(plan);
  const out = given.out ?? job.out;
  const { checkpoint, edits, groups } = await openPlan(plan, job, given.source);
  try {
    // Reading the results first takes some time.
    await requireOutput(checkpoint, out);
    const results = Results.beside(plan);
    const planned = { tasks: job.tasks, divided: tasksOfShards(job, job.shards) };
    const sizes = edits.edits.map(({ shape, dtype }) => storedBytes(elements(shape), dtype));
    const progress = new Progress(sizes, given.onProgress);
    const kernels = new Set<string>();
    const missing: number[] = [];
    for (const [task, group] of groups.entries()) {
      signal?.throwIfAborted();
      const found = await results.find(job.job, task, group);
      const source = found && (await digestOf(await checkpoint.read(group[0]!.tensor)));
      if (found === undefined || found.record.sourceSha256 !== source) missing.push(task);
      else kernels.add(found.record.kernel);
    }
    if (missing.length > 0) throw missingResults(results.folder, planned, missing);

    const taskOf = new Map(groups.map((group, task) => [group[0]!.tensor, task]));
    const done: EditedMatrix[] = [];
    const copyOptions: TransactionOptions = {
      signal,
      restart,
      changes: tensorChanges(edits.edits),
      job: { description: { merged: job.job }, checkNote: checksOf(edits.edits).checkNote },
      onCopy: () => progress.phase('copy'),
      onCommit: () => progress.phase('commit'),
    };
    const { result: resumed, output } = await withCopy(checkpoint, out, copyOptions, async (copy) => {
      for (const group of byTensor(edits.edits)) {
        signal?.throwIfAborted();
        const { tensor } = group[0]!;
        const known = copy.finished(tensor)?.note as EditedMatrix[] | undefined;
        if (!changes(group)) done.push(...group.map(unchanged));
        else if (known !== undefined) done.push(...known);
        else {
          const task = taskOf.get(tensor)!;
          const found = await results.find(job.job, task, group);
          // It existed a moment ago.
          if (found === undefined) throw missingResults(results.folder, planned, [task]);
          await copy.write(tensor, found.bytes, found.record.edited);
          done.push(...found.record.edited);
        }
        for (const edit of group) {
          const bytes = storedBytes(elements(edit.shape), edit.dtype);
          if (known === undefined) progress.finished(nameOf(edit), bytes);
          else progress.resumed(nameOf(edit), bytes);
        }
      }
      return copy.resumed;
    });
    return {
      source: absolutePath(given.source ?? job.source),
      ...output,
      family: edits.family,
      edits: done,
      resumed,
      kernels: [...kernels].sort(),
      seconds: progress.seconds,
    };
  } finally {
    await checkpoint.close();
  }
}
