import { describeArithmetic } from '../addon/arithmetic.js';
import type { Checkpoint, TensorChange } from '../checkpoint/checkpoint.js';
import type { EditCopy } from '../checkpoint/copy/edit-copy.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import type { ResumableJob } from '../checkpoint/copy/resume.js';
import { sizeOfCopy } from '../checkpoint/copy/size.js';
import { type TransactionOptions, withCopy } from '../checkpoint/copy/with-copy.js';
import { typeChanges } from '../checkpoint/layout.js';
import { open } from '../checkpoint/open.js';
import { ArgumentError } from '../errors.js';
import { absolutePath } from '../files/files.js';
import { digestOf } from '../files/journal.js';
import { aBoolean, aName, aNumber, aQuantity, aWhole, exactly, object } from '../files/schema.js';
import { READABLE, SHAPE, WRITABLE } from '../interventions/schema.js';
import { Model } from '../model/model.js';
import { QUANT, typeForNewNumbers } from '../model/new-type.js';
import { boolean, checkedBelow, checkOptions, number, type OptionTypes, wholeNumber } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import type { ReadableType, WritableType } from '../tensor/dtype.js';
import { type LoraAdapter, requirePlain } from './adapter.js';
import { addUpdates, type ScaledUpdate } from './apply.js';
import { inFormOf } from './convert.js';
import { areTransposed, asWeight, requireAdapterFormat, type WeightInfo, weightOf } from './modules.js';

/** An adapter and the factor of its updates. */
export interface ScaledLora {
  readonly adapter: LoraAdapter;
  /** 1 by default; a negative scale subtracts an update. */
  readonly scale?: number;
}

export interface PlanLorasOptions {
  /**
   * The type in which quantised weights of GGUF are written that get an update. Without it, updates
   * of such weights are refused.
   */
  readonly quant?: WritableType | undefined;
}

export interface ApplyOptions extends PlanLorasOptions {
  readonly threads?: number | undefined;
  /** Discards what a killed job has left for the same output, instead of resuming it. */
  readonly restart?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: EditProgress) => void) | undefined;
}

const SCALED_LORA: OptionTypes<ScaledLora> = { adapter: checkedBelow(), scale: number };
const PLAN_OPTIONS: OptionTypes<PlanLorasOptions> = { quant: QUANT };
const APPLY_OPTIONS: OptionTypes<ApplyOptions> = {
  ...PLAN_OPTIONS,
  ...JOB_OPTIONS,
  threads: wholeNumber(1),
  restart: boolean,
};

/** The change of one weight. */
export interface AppliedWeight {
  readonly tensor: string;
  /** The adapters' name for it. */
  readonly module: string;
  readonly shape: readonly number[];
  /** The type in the source. */
  readonly dtype: ReadableType;
  /** The type in the result. */
  readonly writtenAs: WritableType;
  /** Whether the weight is stored [in, out]. */
  readonly transposed: boolean;
  /** The sum of the ranks of the updates that were added. */
  readonly rank: number;
  /** How many adapters have an update for it. */
  readonly adapters: number;
  /** ||What - W||_F / ||W||_F as written, after rounding, in float64. */
  readonly relativeChange: number;
  readonly seconds: number;
}

/** The planned change of one weight. */
export type PlannedWeight = Omit<AppliedWeight, 'relativeChange' | 'seconds'>;

/** The plan of {@link applyLoras}. */
export interface ApplyPlan {
  readonly source: string;
  readonly weights: readonly PlannedWeight[];
  /** Bytes of all files of the result, including those that are only copied. */
  readonly output: { readonly bytes: number };
}

export interface ApplyReport extends OutputSummary {
  readonly source: string;
  readonly weights: readonly AppliedWeight[];
  readonly seconds: number;
}

/**
 * Plans {@link applyLoras} without reading or writing a weight.
 *
 * @throws the errors of {@link applyLoras} before it reads the first weight.
 */
export async function planLoras(
  source: string,
  loras: readonly ScaledLora[],
  options?: PlanLorasOptions,
): Promise<ApplyPlan> {
  const { quant } = checkOptions(options, PLAN_OPTIONS, 'planLoras');
  checkLoras(loras);
  const checkpoint = await open(source);
  try {
    const planned = plan(checkpoint, loras, quant);
    return {
      source: absolutePath(source),
      weights: planned.map(describeWeight),
      output: { bytes: await sizeOfCopy(checkpoint, { changes: changesOf(planned) }) },
    };
  } finally {
    await checkpoint.close();
  }
}

/**
 * Adds the updates of adapters to the weights of a checkpoint and writes the result to `out`: W +
 * sum_i scale_i scaling_i B_i A_i, transposed if the weight is stored [in, out], computed in
 * float32 and rounded to the weight's dtype at the end. One weight is held at a time. The source is
 * never modified, and tensors without an update keep their bytes. An adapter in the other form than
 * the checkpoint's, PEFT's or GGUF, is converted as by `convertLora`.
 *
 * All modules are looked up before anything is written. After a failure nothing is left; after the
 * death of the process the same call resumes the job, as with `editCheckpoint`.
 *
 * @param source - safetensors (F32, F16 or BF16) or GGUF, whose quantised weights need `quant`
 * @param out - must not exist
 * @throws {@link LowRankError} `ERR_NOT_FOUND`, naming a module that the checkpoint lacks;
 *   `ERR_SHAPE`, naming a weight that an update does not fit; `ERR_UNSUPPORTED` for a dtype, a
 *   format or an adapter that is more than updates scaling * B A; `ERR_NOT_FINITE`; `ERR_ARGUMENT`;
 *   for reading and writing as {@link editCheckpoint}; the signal's reason when aborted.
 */
export async function applyLoras(
  source: string,
  loras: readonly ScaledLora[],
  out: string,
  options?: ApplyOptions,
): Promise<ApplyReport> {
  const given = checkOptions(options, APPLY_OPTIONS, 'applyLoras');
  const { signal, restart, threads, quant } = given;
  signal?.throwIfAborted();
  checkLoras(loras);
  const checkpoint = await open(source);
  try {
    const planned = plan(checkpoint, loras, quant);
    const progress = new Progress(
      planned.map(({ info }) => info.bytes),
      given.onProgress,
    );
    const options: TransactionOptions = {
      signal,
      restart,
      changes: changesOf(planned),
      job: await describeJob(planned, threads),
      onCopy: () => progress.phase('copy'),
      onCommit: () => progress.phase('commit'),
      discardOnFailure: true,
    };
    const { result: weights, output } = await withCopy(checkpoint, out, options, async (copy) => {
      const weights: AppliedWeight[] = [];
      for (const item of planned) {
        signal?.throwIfAborted();
        const { name, bytes } = item.info;
        const known = copy.finished(name)?.note as AppliedWeight | undefined;
        if (known !== undefined) {
          weights.push(known);
          progress.resumed(name, bytes);
          continue;
        }
        progress.working(name, bytes, 0);
        weights.push(await applyOne(checkpoint, copy, item, given));
        progress.finished(name, bytes);
      }
      return weights;
    });
    return { source: absolutePath(source), ...output, weights, seconds: progress.seconds };
  } finally {
    await checkpoint.close();
  }
}

/**
 * Describes everything that determines the bytes of the result, apart from the checkpoint's
 * weights.
 */
async function describeJob(planned: readonly Planned[], threads: number | undefined): Promise<ResumableJob> {
  const applied = [];
  for (const { info, writtenAs, updates } of planned) {
    const own = [];
    for (const { module, scale, transposed } of updates) {
      const { name, kind, a, b, scaling } = module;
      const factors = [];
      for (const { dtype, shape, bytes } of [a, b]) factors.push({ dtype, shape, sha256: await digestOf(bytes) });
      own.push({ name, kind, scaling, scale, transposed, factors });
    }
    applied.push({ tensor: info.name, writtenAs, updates: own });
  }
  return { description: { ...describeArithmetic(threads), applied }, checkNote: appliedWeight };
}

/** Checks an `AppliedWeight` of this tensor. */
const appliedWeight = (tensor: string) =>
  object({
    tensor: exactly(tensor),
    module: aName,
    shape: SHAPE,
    dtype: READABLE,
    writtenAs: WRITABLE,
    transposed: aBoolean,
    rank: aWhole(),
    adapters: aWhole(1),
    relativeChange: aNumber,
    seconds: aQuantity,
  });

interface Planned {
  readonly info: WeightInfo;
  readonly writtenAs: WritableType;
  readonly module: string;
  readonly updates: ScaledUpdate[];
}

function checkLoras(loras: readonly ScaledLora[]): void {
  if (!Array.isArray(loras) || loras.length === 0) throw new ArgumentError('loras', 'at least one adapter', loras);
  for (const lora of loras as readonly ScaledLora[]) {
    const { adapter, scale = 1 } = checkOptions(lora, SCALED_LORA, 'an adapter of applyLoras');
    if (!Number.isFinite(scale)) throw new ArgumentError('scale', 'a finite number', scale);
    requirePlain(adapter, 'merge');
  }
}

/** Returns the weights that change, with their types. */
function changesOf(planned: readonly Planned[]): Map<string, TensorChange> {
  return typeChanges(planned.map(({ info, writtenAs }) => [info.name, writtenAs]));
}

/** Assigns updates to weights, in the checkpoint's order. */
function plan(checkpoint: Checkpoint, loras: readonly ScaledLora[], quant: WritableType | undefined): Planned[] {
  requireAdapterFormat(checkpoint, 'merged into');
  const model = Model.find(checkpoint);
  const byTensor = new Map<string, Planned>();
  for (const { adapter: given, scale = 1 } of loras) {
    const adapter = inFormOf(checkpoint, given);
    const adapted = [...adapter.modules.values()].map((module) => ({
      info: asWeight(weightOf(checkpoint, module.name)),
      module,
    }));
    const transposed = areTransposed(adapted, model, adapter.config.fan_in_fan_out === true);
    for (const [i, { info, module }] of adapted.entries()) {
      const planned = byTensor.get(info.name) ?? {
        info,
        module: module.name,
        writtenAs: typeForNewNumbers(info, info.dtype, quant),
        updates: [],
      };
      planned.updates.push({ module, scale, transposed: transposed[i]! });
      byTensor.set(info.name, planned);
    }
  }
  return [...checkpoint.tensors.keys()].flatMap((name) => byTensor.get(name) ?? []);
}

async function applyOne(
  checkpoint: Checkpoint,
  copy: EditCopy,
  planned: Planned,
  { threads, signal }: ApplyOptions,
): Promise<AppliedWeight> {
  const started = performance.now();
  const { info, writtenAs, updates } = planned;
  const stored = await checkpoint.read(info.name);
  const compute = { threads, signal };
  const { bytes, relativeChange } = await addUpdates(stored, { ...info, writtenAs }, updates, compute);
  const seconds = (performance.now() - started) / 1000;
  const weight: AppliedWeight = { ...describeWeight(planned), relativeChange, seconds };
  await copy.write(info.name, bytes, weight);
  return weight;
}

function describeWeight({ info, writtenAs, module, updates }: Planned): PlannedWeight {
  return {
    tensor: info.name,
    module,
    shape: info.shape,
    dtype: info.dtype,
    writtenAs,
    transposed: updates[0]!.transposed,
    rank: updates.reduce((sum, { module: { rank } }) => sum + rank, 0),
    adapters: updates.length,
  };
}
