import { describeArithmetic } from '../addon/arithmetic.js';
import { sideBySide } from '../addon/side-by-side.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import type { EditCopy, ResumedWork } from '../checkpoint/copy/edit-copy.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import type { ResumableJob } from '../checkpoint/copy/resume.js';
import { sizeOfCopy } from '../checkpoint/copy/size.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import { open } from '../checkpoint/open.js';
import { absolutePath } from '../files/files.js';
import { decomposeAnew } from '../interventions/apply.js';
import { byTensor, changes, type Edit, nameOf, numbersToHold, tensorChanges } from '../interventions/edit.js';
import { editedMatrices, SETTINGS } from '../interventions/schema.js';
import type { ComputeOptions } from '../lowrank/approximate.js';
import { memoryUsage } from '../memory.js';
import type { SkippedTensors } from '../model/names.js';
import { boolean, checkOptions, type OptionTypes } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import { storedBytes } from '../tensor/block-slice.js';
import { elements } from '../tensor/tensor.js';
import { type EditedMatrix, editTensor, unchanged } from './apply-to-tensor.js';
import { countOfTensors, type PredictedMemory, predictMemory, type Settings } from './budget.js';
import { type EditPlan, PLAN_OPTIONS, type PlanOptions, planEdits } from './plan.js';

export type { EditedMatrix } from './apply-to-tensor.js';

export interface EditOptions extends PlanOptions, Pick<ComputeOptions, 'signal'> {
  readonly onProgress?: (progress: EditProgress) => void;
  /** Discards what an interrupted job has left for the same output, instead of resuming it. */
  readonly restart?: boolean;
}

const EDIT_OPTIONS: OptionTypes<EditOptions> = {
  ...PLAN_OPTIONS,
  ...JOB_OPTIONS,
  restart: boolean,
};

/** The report on an edited checkpoint. */
export interface EditReport extends OutputSummary {
  readonly source: string;
  readonly family: string | undefined;
  /** The options beside the interventions; undefined ones were not given. */
  readonly options: Omit<PlanOptions, 'interventions'>;
  readonly edits: readonly EditedMatrix[];
  /** Tensors that a glob matched but that were left unchanged, because they are not matrices. */
  readonly skipped: readonly SkippedTensors[];
  /** What an interrupted run of the same job had already done; undefined if there was none. */
  readonly resumed: ResumedWork | undefined;
  readonly memory: {
    readonly predicted: PredictedMemory;
    /** In bytes: of the whole process since it started, and of the native buffers alone. */
    readonly measured: { readonly peakRss: number; readonly nativePeak: number };
  };
  readonly seconds: number;
}

/** The plan of {@link editCheckpoint}. */
export interface CheckpointPlan extends EditPlan {
  readonly output: {
    /** Bytes of all files of the result, including those that are only copied. */
    readonly bytes: number;
  };
}

/**
 * Plans {@link editCheckpoint} without reading or writing a tensor.
 *
 * @throws {@link ArgumentError} without interventions, or if two of them overlap on a matrix;
 *   {@link LowRankError} `ERR_NOT_FOUND` for a layer, type or name that the checkpoint lacks,
 *   `ERR_UNSUPPORTED` for an unknown family, a dtype that is not a float or, without `quant`, a
 *   quantised one, and, without `shared`, a weight that several places use; `ERR_SHAPE` for a
 *   tensor that is neither a matrix nor a batch of them, selected by its exact name, and for a glob
 *   that matches only such tensors; `ERR_MEMORY` if `maxMemory` is not enough; as {@link
 *   openCheckpoint} does.
 */
export async function planCheckpoint(source: string, options: PlanOptions): Promise<CheckpointPlan> {
  const given = checkOptions(options, PLAN_OPTIONS, 'planCheckpoint');
  const checkpoint = await open(source);
  try {
    const plan = planEdits(checkpoint, given);
    return { ...plan, output: { bytes: await sizeOfCopy(checkpoint, { changes: tensorChanges(plan.edits) }) } };
  } finally {
    await checkpoint.close();
  }
}

/**
 * Edits some matrices of a checkpoint and writes the result to `out`; the source is never modified.
 * Tensors are computed side by side, as many as there are threads and memory for, while the next
 * one is read and the last one written; the bytes do not depend on it. Tensors and parts of tensors
 * that no intervention names keep the source's bytes, and so do matrices that keep their full rank.
 * The same call gives the same bytes.
 *
 * The result grows in the folder `.<name>.lowrank` beside `out`, with a journal. After an abort, a
 * full disk or the death of the process the same call resumes the job: existing parts are verified
 * against the source and against the digests in the journal, and the result is to the last byte
 * that of an uninterrupted run. After any other failure nothing is left. An abort takes effect
 * between tensors, and inside one if its method supports it.
 *
 * @param source a folder or a file
 * @param out must not exist
 * @throws as {@link planCheckpoint}; `ERR_NOT_FINITE`, naming the tensor, for a NaN or an infinity,
 *   and for a result that does not fit into the file's dtype; `ERR_CHECKPOINT_IO`,
 *   `ERR_CHECKPOINT_FORMAT` and `ERR_OUTPUT` from reading and writing, with the kinds `InUse`
 *   (another process writes to `out`), `UnfinishedWork` (another job was started there, or the
 *   source has changed since) and `Changed` (the source changes meanwhile), among others; the
 *   signal's reason when aborted.
 */
export async function editCheckpoint(source: string, out: string, options: EditOptions): Promise<EditReport> {
  const given = checkOptions(options, EDIT_OPTIONS, 'editCheckpoint');
  const { signal, restart } = given;
  signal?.throwIfAborted();
  const checkpoint = await open(source);
  try {
    const plan = planEdits(checkpoint, given);
    const progress = new Progress(plan.edits.map(bytesOf), given.onProgress);
    const { result, output } = await withCopy(
      checkpoint,
      out,
      {
        signal,
        restart,
        changes: tensorChanges(plan.edits),
        job: { description: describeJob(plan.edits, given), settings: plan.settings, ...checksOf(plan.edits) },
        onCopy: () => progress.phase('copy'),
        onCommit: () => progress.phase('commit'),
      },
      async (copy) => {
        const settings = copy.settings as Settings;
        const edits = await editAll(checkpoint, copy, plan.edits, settings, given, progress);
        return { settings, edits, resumed: copy.resumed };
      },
    );
    const { settings, edits, resumed } = result;
    const { process, native } = memoryUsage();
    return {
      source: absolutePath(source),
      ...output,
      family: plan.family,
      options: choicesIn(given),
      edits,
      skipped: plan.skipped,
      resumed,
      memory: {
        predicted:
          settings === plan.settings ? plan.memory : predictMemory(checkpoint, plan.edits, settings, given.maxMemory),
        measured: { peakRss: process.peakRss, nativePeak: native.peak },
      },
      seconds: progress.seconds,
    };
  } finally {
    await checkpoint.close();
  }
}

function choicesIn({ interventions: _, ...choices }: PlanOptions): EditReport['options'] {
  const { family, method, seed, threads, maxMemory, quant, shared, flatten } = choices;
  return { family, method, seed, threads, maxMemory, quant, shared, flatten };
}

/** Describes everything that determines the bytes of a job's result, apart from the source. */
export function describeJob(edits: readonly Edit[], options: PlanOptions): unknown {
  const { method = 'auto', seed = 0, maxMemory } = options;
  return { ...describeArithmetic(options.threads), method, seed, maxMemory, edits };
}

/** Returns the checks of an edit's journal, beyond those of every journal. */
export function checksOf(edits: readonly Edit[]): Pick<ResumableJob, 'checkSettings' | 'checkNote'> {
  const groups = new Map(byTensor(edits).map((group) => [group[0]!.tensor, group]));
  return { checkSettings: SETTINGS, checkNote: (tensor) => editedMatrices(groups.get(tensor) ?? []) };
}

/**
 * Edits the tensors, as many beside each other as the memory allows. Returns the results in the
 * order of `edits`.
 */
async function editAll(
  checkpoint: Checkpoint,
  copy: EditCopy,
  edits: readonly Edit[],
  settings: Settings,
  { seed, signal, maxMemory }: EditOptions,
  progress: Progress,
): Promise<EditedMatrix[]> {
  const groups = byTensor(edits);
  const done = new Map<readonly Edit[], readonly EditedMatrix[]>();
  const toDo: (readonly Edit[])[] = [];
  for (const group of groups) {
    const known = copy.finished(group[0]!.tensor)?.note as EditedMatrix[] | undefined;
    if (changes(group) && known === undefined) {
      toDo.push(group);
      continue;
    }
    for (const edit of group) {
      if (known !== undefined) progress.resumed(nameOf(edit), bytesOf(edit));
      else progress.finished(nameOf(edit), bytesOf(edit));
    }
    done.set(group, known ?? group.map(unchanged));
  }

  const read = (group: readonly Edit[]) => quiet(checkpoint.read(group[0]!.tensor));
  const started = (edit: Edit) => {
    signal?.throwIfAborted();
    progress.working(nameOf(edit), bytesOf(edit), 0);
  };
  const finished = (edit: Edit) => progress.finished(nameOf(edit), bytesOf(edit));
  // Few arrays for all tensors: V8 frees large arrays late, and otherwise the memory of several
  // tensors would add up.
  const free: Float32Array[] = [];
  const numbers = numbersToHold(toDo.flat());
  const reading = new Map<readonly Edit[], Promise<Uint8Array>>();
  let next = 0;
  let writing: Promise<void> = Promise.resolve();
  try {
    const { threads } = settings;
    const count = countOfTensors(checkpoint, edits, settings, maxMemory);
    await sideBySide(toDo, { count, threads }, async (group, beside) => {
      signal?.throwIfAborted();
      next++;
      const { tensor } = group[0]!;
      const bytes = await (reading.get(group) ?? read(group));
      reading.delete(group);
      const following = toDo[next];
      if (settings.overlap && following !== undefined && !reading.has(following)) {
        reading.set(following, read(following));
      }
      const work = free.pop() ?? new Float32Array(numbers);
      const decomposer = (edit: Edit) =>
        decomposeAnew({
          ...computeOptions(settings, edits.indexOf(edit)),
          ...beside,
          seed,
          signal,
          onProgress: (share) => progress.working(nameOf(edit), bytesOf(edit), share),
        });
      const context = { work, decomposer, started, finished };
      const result = await editTensor(checkpoint.tensors.get(tensor)!, bytes, group, context);
      free.push(work);
      done.set(group, result.edited);
      const before = writing;
      writing = quiet(before.then(() => copy.write(tensor, result.bytes, result.edited)));
      await (settings.overlap ? before : writing);
    });
    await writing;
  } finally {
    // Wait for pending reads, which would find their files closed.
    await Promise.allSettled(reading.values());
  }
  return groups.flatMap((group) => done.get(group)!);
}

/** Returns how to compute the edit at this index of the plan. */
export function computeOptions({ method, threads, choices }: Settings, index: number): ComputeOptions {
  const choice = choices?.[index];
  return choice === undefined ? { method, threads } : { threads, ...choice };
}

/** Suppresses the warning about an unhandled rejection; the caller awaits this promise later. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

function bytesOf({ shape, dtype }: Edit): number {
  return storedBytes(elements(shape), dtype);
}
