import { requireOutput } from '../checkpoint/copy/output.js';
import { compressCheckpoint } from '../compress/compress.js';
import { decompose } from '../compress/decompose.js';
import type { CompressOptions } from '../compress/options.js';
import type { CompressReport } from '../compress/report.js';
import { ArgumentError } from '../errors.js';
import { absolutePath } from '../files/files.js';
import { checkOptions, number, type OptionTypes, text } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import { compressTasksOf, openCompressPlan, readCompressPlan } from './compress-plan.js';
import { checkShards } from './job-plan.js';
import { missingResults } from './missing-results.js';
import { Results } from './results.js';

export interface CompressShardOptions {
  /** The shard to run, from 1 to `shards`. */
  readonly shard: number;
  /** The number of shards; that of the plan by default. */
  readonly shards?: number | undefined;
  /** The model's path on this machine, if it is not that of the plan. */
  readonly source?: string | undefined;
  /** Bytes of memory that decompositions may use together. */
  readonly maxMemory?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: EditProgress) => void) | undefined;
}

const SHARD_OPTIONS: OptionTypes<CompressShardOptions> = {
  shard: number,
  shards: number,
  source: text,
  maxMemory: number,
  ...JOB_OPTIONS,
};

/** The report on a shard of a compression. */
export interface CompressShardReport {
  readonly shard: number;
  readonly shards: number;
  /** The folder with the decompositions. */
  readonly results: string;
  readonly tasks: readonly {
    readonly tensor: string;
    /** False if it was there already. */
    readonly computed: boolean;
  }[];
  readonly seconds: number;
}

/**
 * Runs one shard of the plan of a compression: decomposes its layers into the folder beside the
 * plan. Decompositions that are there already are kept, so a shard may be run again.
 *
 * @param file the plan's
 * @throws {@link ArgumentError} for an unknown shard; as {@link compressCheckpoint}.
 */
export async function runCompressShard(file: string, options: CompressShardOptions): Promise<CompressShardReport> {
  const given = checkOptions(options, SHARD_OPTIONS, 'runCompressShard');
  const plan = await readCompressPlan(file);
  const { shard, shards = plan.shards, maxMemory, signal } = given;
  checkShards(shards);
  if (!Number.isSafeInteger(shard) || shard < 1 || shard > shards) {
    throw new ArgumentError('shard', `a whole number from 1 to ${shards}`, shard);
  }
  return openCompressPlan(file, plan, given, async ({ layers, source }) => {
    const own = compressTasksOf(plan, shards)[shard - 1]!.map((task) => layers[task]!);
    const progress = new Progress(
      own.map(({ info }) => info.bytes),
      given.onProgress,
    );
    const stored = new Set<string>();
    await decompose(own, source, {
      threads: plan.choices.threads,
      maxMemory,
      signal,
      started: ({ name, info }) => progress.working(name, info.bytes, 0),
      finished: ({ name, info }, before) => {
        if (before) stored.add(name);
        (before ? progress.resumed : progress.finished).call(progress, name, info.bytes);
      },
    });
    const tasks = own.map(({ name }) => ({ tensor: name, computed: !stored.has(name) }));
    return { shard, shards, results: Results.beside(file).folder, tasks, seconds: progress.seconds };
  });
}

export interface MergeCompressionOptions extends Pick<CompressOptions, 'signal' | 'onProgress' | 'peers'> {
  /** The path in the plan by default. */
  readonly out?: string | undefined;
  /** The model's path on this machine, if it is not that of the plan. */
  readonly source?: string | undefined;
}

const MERGE_OPTIONS: OptionTypes<MergeCompressionOptions> = {
  out: text,
  source: text,
  peers: text,
  ...JOB_OPTIONS,
};

/**
 * Chooses the ranks of a planned compression from the decompositions of all shards, and writes the
 * model. If all machines have the same kernels, the result is to the last byte what
 * `compressCheckpoint` writes with the plan's choices.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`, kind `MissingResults`, naming the missing
 *   layers and their shards; as {@link compressCheckpoint}.
 */
export async function mergeCompression(file: string, options?: MergeCompressionOptions): Promise<CompressReport> {
  const { out, source, ...rest } = checkOptions(options, MERGE_OPTIONS, 'mergeCompression');
  const plan = await readCompressPlan(file);
  const target = out ?? plan.out;
  await openCompressPlan(file, plan, { source }, async ({ checkpoint, layers, source: factors }) => {
    await requireOutput(checkpoint, target);
    const missing: number[] = [];
    for (const [task, layer] of layers.entries()) {
      rest.signal?.throwIfAborted();
      if (!(await factors.isStored(layer))) missing.push(task);
    }
    if (missing.length > 0) {
      const divided = compressTasksOf(plan, plan.shards);
      throw missingResults(Results.beside(file).folder, { tasks: plan.tasks, divided }, missing);
    }
  });
  return compressCheckpoint(absolutePath(source ?? plan.source), target, {
    ...plan.choices,
    ...rest,
    work: Results.beside(file).folder,
  });
}
