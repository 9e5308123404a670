import { addon, kernels } from '../addon/load.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { sizeOfCopy } from '../checkpoint/copy/size.js';
import { open } from '../checkpoint/open.js';
import type { Settings } from '../edit/budget.js';
import { describeJob } from '../edit/edit-checkpoint.js';
import { type EditPlan, PLAN_OPTIONS, type PlanOptions, planEdits } from '../edit/plan.js';
import { ArgumentError, CheckpointError } from '../errors.js';
import { writeAtomically } from '../files/atomic.js';
import { type DocumentKind, readDocument, toJson } from '../files/document.js';
import { absolutePath, refuseExisting, requirePath } from '../files/files.js';
import { digestOfJson } from '../files/journal.js';
import { MAX_PLAN_BYTES, MAX_PLAN_SHARDS, MAX_TENSORS } from '../files/limits.js';
import { aDigest, aFinite, aName, aString, aWhole, exactly, list, object, optional } from '../files/schema.js';
import { byTensor, changes, type Edit, tensorChanges } from '../interventions/edit.js';
import { SETTINGS, STORED_OPTIONS } from '../interventions/schema.js';
import { asInterventions } from '../interventions/spec.js';
import type { SkippedTensors } from '../model/names.js';
import { checkOptions, number, type OptionTypes } from '../options.js';
import { balance, costOf } from './balance.js';

/** A tensor to edit, independent of all others. */
export interface ShardTask {
  readonly tensor: string;
  /** The number of its matrices to edit. */
  readonly matrices: number;
  /** The bytes of the tensor in the source. */
  readonly bytes: number;
  /** In operations, up to a factor that is the same for all. */
  readonly cost: number;
}

/** The manifest of a job for many machines, as stored in its file. */
export interface JobPlan {
  readonly lowrank: 1;
  /** Absolute. */
  readonly source: string;
  readonly out: string;
  readonly options: PlanOptions;
  readonly settings: Settings;
  /** The kernels of the machine that planned, such as `SkylakeX avx512`. */
  readonly kernel: string;
  /**
   * The digest of everything that determines the bytes: the options, the settings, the matrices and
   * the facts about the tensors.
   */
  readonly job: string;
  /** The number of shards, if `run` gets none. */
  readonly shards: number;
  readonly tasks: readonly ShardTask[];
  /** Tensors that a glob matched but that are left unchanged, because they are not matrices. */
  readonly skipped: readonly SkippedTensors[];
  /** The bytes of all files of the result, as far as known when the plan was made. */
  readonly output?: { readonly bytes: number };
}

export interface JobPlanOptions extends PlanOptions {
  /** 1 by default. */
  readonly shards?: number;
}

const JOB_PLAN_OPTIONS: OptionTypes<JobPlanOptions> = { ...PLAN_OPTIONS, shards: number };

/**
 * Plans a job for many machines: a list of independent tasks with their costs. The plan contains
 * the number of threads, so that every machine rounds alike.
 *
 * @throws as `planCheckpoint`.
 */
export async function planJob(source: string, out: string, options: JobPlanOptions): Promise<JobPlan> {
  const { shards = 1, ...own } = checkOptions(options, JOB_PLAN_OPTIONS, 'planJob');
  checkShards(shards);
  const interventions = asInterventions(own.interventions);
  const { threads: all } = addon().info();
  const fixed = { ...own, interventions, threads: own.threads ?? all };
  const path = absolutePath(source);
  const checkpoint = await open(path);
  try {
    const plan = planEdits(checkpoint, fixed);
    return {
      lowrank: 1,
      source: path,
      out: absolutePath(out),
      options: fixed,
      settings: plan.settings,
      kernel: kernels(),
      job: digestOfPlan(checkpoint, plan.edits, fixed, plan.settings),
      shards,
      tasks: tasksOf(checkpoint, plan.edits),
      skipped: plan.skipped,
      output: { bytes: await sizeOfCopy(checkpoint, { changes: tensorChanges(plan.edits) }) },
    };
  } finally {
    await checkpoint.close();
  }
}

/**
 * Writes a plan, completely or not at all. Replaces an older plan, but no other file.
 *
 * @throws {@link CheckpointError} `ERR_OUTPUT`, kind `OutputExists`, if the file exists and is not
 *   a plan; `ERR_CHECKPOINT_IO`.
 */
export async function writePlan(file: string, plan: JobPlan): Promise<void> {
  requirePath(file);
  const text = textOf(plan);
  const replace = await isPlan(file);
  if (!replace) await refuseExisting(file);
  await writeAtomically(file, text, { replace });
}

/**
 * Formats a plan.
 *
 * @throws {@link ArgumentError} if it could not be read again
 */
function textOf(plan: JobPlan): string {
  let fault: string | undefined;
  try {
    const text = `${toJson(plan, 2)}\n`;
    fault = PLAN.check(JSON.parse(text), '');
    if (fault === undefined) return text;
  } catch (cause) {
    fault = (cause as Error).message;
  }
  throw new ArgumentError('plan', `a plan from planJob (${fault})`, plan);
}

async function isPlan(file: string): Promise<boolean> {
  try {
    await readPlan(file);
    return true;
  } catch (cause) {
    if (cause instanceof CheckpointError) return false;
    throw cause;
  }
}

/**
 * Checks the number of shards.
 *
 * @throws {@link ArgumentError}
 */
export function checkShards(shards: number): void {
  if (Number.isSafeInteger(shards) && shards >= 1 && shards <= MAX_PLAN_SHARDS) return;
  throw new ArgumentError('shards', `a whole number from 1 to ${MAX_PLAN_SHARDS}`, shards);
}

const PLAN: DocumentKind = {
  what: 'plan',
  limit: MAX_PLAN_BYTES,
  check: object({
    lowrank: exactly(1),
    source: aName,
    out: aName,
    options: STORED_OPTIONS,
    settings: SETTINGS,
    kernel: aName,
    job: aDigest,
    shards: aWhole(1, MAX_PLAN_SHARDS),
    tasks: list(object({ tensor: aString, matrices: aWhole(1), bytes: aWhole(), cost: aFinite(0) }), 0, MAX_TENSORS),
    skipped: list(object({ glob: aString, matched: aWhole(), tensors: list(aString) })),
    output: optional(object({ bytes: aWhole() })),
  }),
  code: 'ERR_CHECKPOINT_FORMAT',
  kind: 'InvalidPlan',
  hint: 'Create it with: lowrank plan.',
};

/**
 * Reads a plan. `openPlan` checks whether its tasks are those of its checkpoint.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`, or `ERR_CHECKPOINT_FORMAT` with kind
 *   `InvalidPlan`, naming the wrong field.
 */
export async function readPlan(file: string): Promise<JobPlan> {
  requirePath(file);
  return (await readDocument(file, PLAN)) as JobPlan;
}

/** Divides the tasks among this many shards, by their numbers in the plan. */
export function tasksOfShards({ tasks }: JobPlan, shards: number): number[][] {
  return balance(
    tasks.map(({ cost }) => cost),
    shards,
  );
}

/** A plan's checkpoint, opened, and its edits, planned again. */
export interface OpenPlan {
  readonly checkpoint: Checkpoint;
  readonly edits: EditPlan;
  /** The edits of each task. */
  readonly groups: readonly (readonly Edit[])[];
}

/**
 * Opens the checkpoint of a plan. Close it after use.
 *
 * @param file the plan's, for messages
 * @param source the checkpoint's path on this machine, if it differs
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`, kind `Changed`, if it is not the planned
 *   checkpoint; `ERR_CHECKPOINT_FORMAT`, kind `InvalidPlan`, if the tasks do not follow from the
 *   plan's options.
 */
export async function openPlan(file: string, plan: JobPlan, source = plan.source): Promise<OpenPlan> {
  const checkpoint = await open(source);
  try {
    // The budget was met when the plan was made; its choice is in the settings.
    const edits = planEdits(checkpoint, { ...plan.options, maxMemory: undefined });
    const job = digestOfPlan(checkpoint, edits.edits, plan.options, plan.settings);
    if (job !== plan.job) {
      const message = 'does not match the plan: the checkpoint or the version of lowrank has changed';
      throw new CheckpointError('ERR_CHECKPOINT_IO', 'Changed', checkpoint.path, message, {
        hint: 'Plan again, or pass the checkpoint of the plan.',
      });
    }
    // Not part of the digest, since they follow from the rest.
    if (toJson(tasksOf(checkpoint, edits.edits)) !== toJson(tasksIn(plan))) {
      const message = 'tasks: expected those that follow from its options';
      throw new CheckpointError(PLAN.code, PLAN.kind, file, message, { hint: PLAN.hint });
    }
    return { checkpoint, edits, groups: byTensor(edits.edits).filter(changes) };
  } catch (cause) {
    await checkpoint.close();
    throw cause;
  }
}

/** Returns the tasks of a file with their fields in the order in which they are written. */
function tasksIn({ tasks }: JobPlan): ShardTask[] {
  return tasks.map(({ tensor, matrices, bytes, cost }) => ({ tensor, matrices, bytes, cost }));
}

function tasksOf(checkpoint: Checkpoint, edits: readonly Edit[]): ShardTask[] {
  return byTensor(edits)
    .filter(changes)
    .map((group) => ({
      tensor: group[0]!.tensor,
      matrices: group.length,
      bytes: checkpoint.tensors.get(group[0]!.tensor)!.bytes,
      cost: group.reduce((sum, edit) => sum + costOf(edit), 0),
    }));
}

/**
 * Leaves out times and paths, since machines may have copies, and the kernel, which marks the
 * results.
 */
function digestOfPlan(
  checkpoint: Checkpoint,
  edits: readonly Edit[],
  options: PlanOptions,
  settings: Settings,
): string {
  const { kernel: _, ...job } = describeJob(edits, options) as Record<string, unknown>;
  return digestOfJson([job, settings, checkpoint.format, ...checkpoint.tensors.values()]);
}
