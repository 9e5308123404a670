import { addon, kernels } from '../addon/load.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { open } from '../checkpoint/open.js';
import { requireCompressible } from '../compress/compressible.js';
import { Decompositions } from '../compress/decompositions.js';
import { LayerFactors } from '../compress/layer-factors.js';
import { openMoments } from '../compress/moments.js';
import { COMPRESS_CHOICES, type CompressChoices, checkChoices, requireMoments } from '../compress/options.js';
import { compressibleLayers, type Layer } from '../compress/select.js';
import { ArgumentError, CheckpointError } from '../errors.js';
import { writeAtomically } from '../files/atomic.js';
import { type DocumentKind, readDocument, toJson } from '../files/document.js';
import { absolutePath, exists, refuseExisting, requirePath } from '../files/files.js';
import { digestOfJson } from '../files/journal.js';
import { MAX_PLAN_BYTES, MAX_PLAN_SHARDS, MAX_TENSORS } from '../files/limits.js';
import {
  aBoolean,
  aDigest,
  aFinite,
  aName,
  aString,
  aWhole,
  exactly,
  list,
  object,
  oneOf,
  optional,
} from '../files/schema.js';
import { checkOptions, number, type OptionTypes } from '../options.js';
import { balance } from './balance.js';
import { checkShards } from './job-plan.js';
import { Results } from './results.js';

/** The decomposition of a layer, independent of all others. */
export interface CompressTask {
  readonly tensor: string;
  /** [outputs, inputs]. */
  readonly shape: readonly [m: number, n: number];
  /** In operations, up to a factor that is the same for all. */
  readonly cost: number;
  /** Bytes of memory that it takes. */
  readonly memory: number;
}

/** The manifest of a compression on many machines, as stored in its file. */
export interface CompressPlan {
  readonly lowrank: 1;
  readonly kind: 'compress';
  /** Absolute, as the paths in `choices`. */
  readonly source: string;
  readonly out: string;
  readonly choices: CompressChoices;
  /** The kernels of the machine that planned, such as `SkylakeX avx512`. */
  readonly kernel: string;
  /** The digest of the choices and of the facts about the tensors. */
  readonly job: string;
  /** The number of shards, if `run` gets none. */
  readonly shards: number;
  readonly tasks: readonly CompressTask[];
}

export interface CompressPlanOptions extends CompressChoices {
  /** 1 by default. */
  readonly shards?: number | undefined;
}

const PLAN_OPTIONS: OptionTypes<CompressPlanOptions> = { ...COMPRESS_CHOICES, shards: number };

/**
 * Plans a compression for many machines: the decompositions are its tasks. `runShard` computes
 * them, and `mergeCompression` chooses ranks and writes the model.
 *
 * @throws as `compressCheckpoint`.
 */
export async function planCompression(
  source: string,
  out: string,
  options: CompressPlanOptions,
): Promise<CompressPlan> {
  const { shards = 1, ...given } = checkOptions(options, PLAN_OPTIONS, 'planCompression');
  checkShards(shards);
  checkChoices(given);
  // Without factors there is nothing to share out.
  requireMoments(given);
  const { calibration, texts, inputs, threads = addon().info().threads } = given;
  const choices: CompressChoices = {
    ...given,
    ...(calibration !== undefined && { calibration: absolutePath(calibration) }),
    ...(texts !== undefined && { texts: absolutePath(texts) }),
    ...(inputs !== undefined && { inputs: absolutePath(inputs) }),
    threads,
  };
  const plan = { source: absolutePath(source), choices };
  return withLayers(plan, undefined, async ({ checkpoint, layers, source }) => ({
    lowrank: 1,
    kind: 'compress',
    source: plan.source,
    out: absolutePath(out),
    choices,
    kernel: kernels(),
    job: digestOf(checkpoint, choices),
    shards,
    tasks: layers.map((layer) => taskOf(layer, source)),
  }));
}

function taskOf(layer: Layer, source: LayerFactors): CompressTask {
  const { name, m, n } = layer;
  return { tensor: name, shape: [m, n], cost: source.operations(layer), memory: source.bytes(layer) };
}

/** Leaves out paths, since machines may have copies. */
function digestOf(
  { format, tensors }: Checkpoint,
  { calibration, texts, inputs, ...choices }: CompressChoices,
): string {
  return digestOfJson([orderedBy(choices), format, ...tensors.values()]);
}

/** The options in one order, whatever that in which they were given. */
function orderedBy(choices: CompressChoices): unknown {
  return (Object.keys(COMPRESS_CHOICES) as (keyof CompressChoices)[]).map((name) => choices[name] ?? null);
}

const PLAN: DocumentKind = {
  what: 'plan of a compression',
  limit: MAX_PLAN_BYTES,
  check: object({
    lowrank: exactly(1),
    kind: exactly('compress'),
    source: aName,
    out: aName,
    choices: object({
      keep: optional(aFinite(0, 1)),
      size: optional(aFinite(0)),
      bits: optional(aFinite(0)),
      maxKl: optional(aFinite(0)),
      calibration: optional(aName),
      uncalibrated: optional(aBoolean),
      float: optional(aBoolean),
      storage: optional(oneOf('factors', 'pivoted')),
      texts: optional(aName),
      inputs: optional(aName),
      heads: optional(aBoolean),
      embeddings: optional(aBoolean),
      corrections: optional(aBoolean),
      accuracyLevel: optional(aWhole(0)),
      threads: aWhole(1),
    }),
    kernel: aName,
    job: aDigest,
    shards: aWhole(1, MAX_PLAN_SHARDS),
    tasks: list(
      object({ tensor: aString, shape: list(aWhole(1), 2, 2), cost: aFinite(0), memory: aFinite(0) }),
      1,
      MAX_TENSORS,
    ),
  }),
  code: 'ERR_CHECKPOINT_FORMAT',
  kind: 'InvalidPlan',
  hint: 'Create it with: lowrank plan --keep ... --calibration ...',
};

/**
 * Reads a plan of a compression.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`, or `ERR_CHECKPOINT_FORMAT` with kind
 *   `InvalidPlan`.
 */
export async function readCompressPlan(file: string): Promise<CompressPlan> {
  requirePath(file);
  return (await readDocument(file, PLAN)) as CompressPlan;
}

/** Whether the file is a plan of a compression. */
export async function isCompressPlan(file: string): Promise<boolean> {
  try {
    await readCompressPlan(file);
    return true;
  } catch (cause) {
    if (cause instanceof CheckpointError && cause.kind === PLAN.kind) return false;
    throw cause;
  }
}

/**
 * Writes a plan, completely or not at all. Replaces an older plan of a compression, but no other
 * file.
 *
 * @throws {@link CheckpointError} `ERR_OUTPUT`, kind `OutputExists`; `ERR_CHECKPOINT_IO`.
 */
export async function writeCompressPlan(file: string, plan: CompressPlan): Promise<void> {
  requirePath(file);
  const fault = PLAN.check(plan, '');
  if (fault !== undefined) throw new ArgumentError('plan', `a plan from planCompression (${fault})`, plan);
  const replace = (await exists(file)) && (await isCompressPlan(file));
  if (!replace) await refuseExisting(file);
  await writeAtomically(file, `${toJson(plan, 2)}\n`, { replace });
}

/** The layers of a plan, and where their factors come from. */
export interface PlannedLayers {
  readonly checkpoint: Checkpoint;
  readonly layers: readonly Layer[];
  readonly source: LayerFactors;
}

/**
 * Opens the model and the moments of a plan while `use` runs.
 *
 * @throws {@link CheckpointError} kind `Changed` if it is not the planned model.
 */
export async function openCompressPlan<T>(
  file: string,
  plan: CompressPlan,
  options: { readonly source?: string | undefined; readonly signal?: AbortSignal | undefined },
  use: (opened: PlannedLayers) => Promise<T>,
): Promise<T> {
  const { choices, job, tasks } = plan;
  const path = options.source ?? plan.source;
  const store = new Decompositions(Results.beside(file).folder);
  return withLayers({ source: path, choices }, { store, signal: options.signal }, (opened) => {
    const expected = digestOf(opened.checkpoint, choices);
    if (
      expected !== job ||
      toJson(opened.layers.map((layer) => taskOf(layer, opened.source))) !== toJson(tasks.map(inOrder))
    ) {
      const message = 'does not match the plan: the model, its moments or the version of lowrank has changed';
      throw new CheckpointError('ERR_CHECKPOINT_IO', 'Changed', opened.checkpoint.path, message, {
        hint: 'Plan again, or pass the model of the plan.',
      });
    }
    return use(opened);
  });
}

/** The fields of a task in the order in which they are written. */
function inOrder({ tensor, shape, cost, memory }: CompressTask): CompressTask {
  return { tensor, shape, cost, memory };
}

async function withLayers<T>(
  { source: path, choices }: Pick<CompressPlan, 'source' | 'choices'>,
  work: { readonly store: Decompositions; readonly signal?: AbortSignal | undefined } | undefined,
  use: (opened: PlannedLayers) => Promise<T>,
): Promise<T> {
  const { calibration, heads = false, threads } = choices;
  const moments = calibration === undefined ? undefined : await openMoments(calibration);
  try {
    const checkpoint = await open(path);
    try {
      await requireCompressible(checkpoint);
      const compute = { threads, ...(work?.signal && { signal: work.signal }) };
      const source = new LayerFactors(checkpoint, moments, work?.store ?? new Decompositions(path), compute);
      const layers = compressibleLayers(checkpoint, { heads }).layers.filter((layer) => source.has(layer));
      return await use({ checkpoint, layers, source });
    } finally {
      await checkpoint.close();
    }
  } finally {
    await moments?.close();
  }
}

/** Divides the tasks among this many shards, by their numbers in the plan. */
export function compressTasksOf({ tasks }: CompressPlan, shards: number): number[][] {
  return balance(
    tasks.map(({ cost }) => cost),
    shards,
  );
}
