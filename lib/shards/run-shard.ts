import { kernels } from '../addon/load.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { editTensor } from '../edit/apply-to-tensor.js';
import { computeOptions } from '../edit/edit-checkpoint.js';
import { ArgumentError } from '../errors.js';
import { digestOf } from '../files/journal.js';
import { requireSpace } from '../files/space.js';
import { decomposeAnew } from '../interventions/apply.js';
import { type Edit, nameOf, numbersToHold, writtenAs } from '../interventions/edit.js';
import type { ComputeOptions } from '../lowrank/approximate.js';
import { checkOptions, number, type OptionTypes, text } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import { storedBytes } from '../tensor/block-slice.js';
import { elements } from '../tensor/tensor.js';
import { checkShards, openPlan, readPlan, tasksOfShards } from './job-plan.js';
import { Results } from './results.js';

export interface ShardOptions extends Pick<ComputeOptions, 'signal'> {
  /** The shard to run, from 1 to `shards`. */
  readonly shard: number;
  /** The number of shards; that of the plan by default. */
  readonly shards?: number;
  /** The checkpoint's path on this machine, if it is not that of the plan. */
  readonly source?: string;
  readonly onProgress?: (progress: EditProgress) => void;
}

const SHARD_OPTIONS: OptionTypes<ShardOptions> = {
  shard: number,
  shards: number,
  source: text,
  ...JOB_OPTIONS,
};

/** The report on a shard. */
export interface ShardReport {
  readonly shard: number;
  readonly shards: number;
  /** The folder with the results. */
  readonly results: string;
  readonly tasks: readonly {
    readonly tensor: string;
    readonly sha256: string;
    readonly bytes: number;
    /** False if a result already existed, and was verified. */
    readonly computed: boolean;
  }[];
  readonly seconds: number;
}

/**
 * Runs one shard of a plan: edits its tensors and writes the results into the folder beside the
 * plan. Existing results that match their digests and the source are kept, so a shard may be run
 * again.
 *
 * @param plan the plan's file
 * @throws {@link ArgumentError} for an unknown shard; as {@link editCheckpoint}.
 */
export async function runShard(plan: string, options: ShardOptions): Promise<ShardReport> {
  const given = checkOptions(options, SHARD_OPTIONS, 'runShard');
  const { signal, shard } = given;
  const job = await readPlan(plan);
  const { shards = job.shards } = given;
  checkShards(shards);
  if (!Number.isSafeInteger(shard) || shard < 1 || shard > shards) {
    throw new ArgumentError('shard', `a whole number from 1 to ${shards}`, shard);
  }
  const { checkpoint, edits, groups } = await openPlan(plan, job, given.source);
  try {
    const results = Results.beside(plan);
    const own = tasksOfShards(job, shards)[shard - 1]!;
    const ownEdits = own.flatMap((task) => groups[task]!);
    const progress = new Progress(ownEdits.map(bytesOf), given.onProgress);
    const recorded = await results.recorded();
    const toDo = own.filter((task) => !recorded.has(task)).map((task) => groups[task]!);
    await requireSpace(results.folder, { bytes: toDo.reduce((sum, group) => sum + resultBytes(checkpoint, group), 0) });
    const work = new Float32Array(numbersToHold(ownEdits));
    const kernel = kernels();
    const tasks: ShardReport['tasks'][number][] = [];
    for (const task of own) {
      signal?.throwIfAborted();
      const group = groups[task]!;
      const { tensor } = group[0]!;
      const source = await checkpoint.read(tensor);
      const sourceSha256 = await digestOf(source);
      const found = await results.find(job.job, task, group);
      if (found !== undefined && found.record.sourceSha256 === sourceSha256) {
        for (const edit of group) progress.resumed(nameOf(edit), bytesOf(edit));
        tasks.push({ tensor, sha256: found.record.sha256, bytes: found.record.bytes, computed: false });
        continue;
      }
      const { bytes, edited } = await editTensor(checkpoint.tensors.get(tensor)!, source, group, {
        work,
        decomposer: (edit) =>
          decomposeAnew({
            ...computeOptions(job.settings, edits.edits.indexOf(edit)),
            seed: job.options.seed,
            signal,
            onProgress: (share) => progress.working(nameOf(edit), bytesOf(edit), share),
          }),
        started: (edit) => {
          signal?.throwIfAborted();
          progress.working(nameOf(edit), bytesOf(edit), 0);
        },
        finished: (edit) => progress.finished(nameOf(edit), bytesOf(edit)),
      });
      const record = await results.add({ job: job.job, task, tensor, sourceSha256, kernel, edited }, bytes);
      tasks.push({ tensor, sha256: record.sha256, bytes: record.bytes, computed: true });
    }
    return { shard, shards, results: results.folder, tasks, seconds: progress.seconds };
  } finally {
    await checkpoint.close();
  }
}

/** Returns the bytes of a tensor as it will be written. */
function resultBytes(checkpoint: Checkpoint, group: readonly Edit[]): number {
  return storedBytes(elements(checkpoint.tensors.get(group[0]!.tensor)!.shape), writtenAs(group));
}

function bytesOf({ shape, dtype }: Edit): number {
  return storedBytes(elements(shape), dtype);
}
