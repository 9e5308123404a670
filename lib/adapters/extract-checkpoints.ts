import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { open } from '../checkpoint/open.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { singularValues as singularValuesOf } from '../linalg/svd.js';
import { COMPUTE_OPTIONS, type ComputeOptions, type Method } from '../lowrank/approximate.js';
import type { Certificate } from '../lowrank/certificate.js';
import type { SkippedTensors } from '../model/names.js';
import { boolean, checkOptions, listOf, number, type OptionTypes, oneOf, text, wholeNumber } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import { storedBytes } from '../tensor/block-slice.js';
import { isReadableType, WRITABLE_TYPES, type WritableType } from '../tensor/dtype.js';
import { type PlainTensor, sameShape } from '../tensor/tensor.js';
import { type LoraAdapter, type LoraKind, requireTypeFor } from './adapter.js';
import { adapterConfig } from './adapter-config.js';
import { assemble } from './assemble.js';
import { difference, type ExtractChoice, type ExtractedUpdate, extractUpdate, updateError } from './extract.js';
import { architectureOf, requireAdapterFormat } from './modules.js';
import { type SelectedModule, selectModules } from './select-modules.js';
import { findShortfall, type Shortfall } from './shortfall.js';

export interface ExtractOptions {
  /**
   * Names or globs of tensors; by default the matrices of the layers of the model's family. If a
   * glob also matches other tensors, only weights of modules are taken.
   */
  readonly tensors?: readonly string[] | undefined;
  /** The model's family, if config.json does not name it or is to be overridden. */
  readonly family?: string | undefined;
  /**
   * Whether tensors are stored [in, out] if neither the family nor the shapes give evidence. False
   * by default, for tensors that are not the family's. Without it, layer matrices that contradict
   * config.json are refused.
   */
  readonly fanInFanOut?: boolean | undefined;
  /** The type of the factors, F32 by default. Q8_0 only in GGUF. */
  readonly dtype?: WritableType | undefined;
  /** `base_model_name_or_path` of the adapter; by default the given `base`. */
  readonly baseName?: string | undefined;
  readonly method?: Method | undefined;
  readonly seed?: number | undefined;
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: EditProgress) => void) | undefined;
}

const EXTRACT_OPTIONS: OptionTypes<ExtractChoice & ExtractOptions> = {
  rank: number,
  energy: number,
  tensors: listOf(text),
  family: text,
  fanInFanOut: boolean,
  baseName: text,
  dtype: oneOf(WRITABLE_TYPES),
  method: COMPUTE_OPTIONS.method,
  seed: wholeNumber(0),
  threads: wholeNumber(1),
  ...JOB_OPTIONS,
};

/** The module made from one matrix. */
export interface ExtractedModule {
  readonly name: string;
  readonly kind: LoraKind;
  readonly tensor: string;
  /** The shape of the stored weight. */
  readonly shape: readonly number[];
  readonly rank: number;
  /** The share of the difference's energy that the factors keep. */
  readonly keptEnergy: number;
  /**
   * ||difference - update||_F / ||difference||_F of the factors as written, measured in float64.
   */
  readonly relativeError: number;
  /** The certificate of the decomposition. */
  readonly certificate: Certificate;
  readonly singularValues: readonly number[];
}

/** A tensor that differs between the checkpoints but is not in the adapter. */
export interface UncoveredTensor {
  readonly tensor: string;
  readonly reason: 'changed' | 'other shape' | 'only in base' | 'only in tuned';
}

export interface ExtractedLora {
  readonly adapter: LoraAdapter;
  readonly modules: readonly ExtractedModule[];
  /**
   * Set if the rank is too small for the difference, so that the adapter keeps less than 90 % of
   * it.
   */
  readonly shortfall: Shortfall | undefined;
  /** Selected matrices that are equal in both checkpoints, and so get no update. */
  readonly unchanged: readonly string[];
  /** Tensors that a glob matched but that were skipped, because they are not weights of modules. */
  readonly skipped: readonly SkippedTensors[];
  /**
   * Further differences between the tuned model and the base with this adapter, beside the errors
   * of `modules`.
   */
  readonly uncovered: readonly UncoveredTensor[];
  readonly seconds: number;
}

/**
 * Extracts a LoRA adapter that leads from one checkpoint to another, by the SVD of each matrix's
 * difference. It is exact for the chosen rank (see the certificates) and measured after rounding.
 * Both checkpoints are read tensor by tensor. Differing tensors that are not selected matrices
 * (norms, biases, embeddings, experts stored in one tensor) are listed in `uncovered`.
 *
 * Write the adapter with {@link writeAdapter}.
 *
 * From two GGUF models it is an adapter in GGUF, from their numbers as llama.cpp decodes them.
 *
 * @param base - safetensors (F32, F16 or BF16) or GGUF
 * @param tuned - the same model after training; its config.json names the family
 * @throws {@link LowRankError} `ERR_NOT_FOUND` for a matrix that `base` lacks, or if no selected
 *   matrix differs; `ERR_SHAPE`, `ERR_UNSUPPORTED`, `ERR_NOT_FINITE` naming the tensor;
 *   `ERR_ARGUMENT`; for reading as {@link openCheckpoint}; the signal's reason when aborted.
 */
export async function extractLora(
  base: string,
  tuned: string,
  options: ExtractChoice & ExtractOptions,
): Promise<ExtractedLora> {
  const given = checkOptions(options, EXTRACT_OPTIONS, 'extractLora');
  return withBoth(base, tuned, given, (from, to) => extract(from, to, { ...given, baseName: given.baseName ?? base }));
}

/** The plan for one matrix. */
export interface PlannedModule extends Pick<ExtractedModule, 'name' | 'kind' | 'tensor' | 'shape'> {
  /** With `rank`, the rank; with `energy`, the largest possible rank. */
  readonly rank: number;
}

/** The plan of {@link extractLora}. */
export interface ExtractPlan {
  readonly modules: readonly PlannedModule[];
  /** Tensors that a glob matched but that were skipped, because they are not weights of modules. */
  readonly skipped: readonly SkippedTensors[];
  readonly output: {
    /**
     * Bytes of the factors; fewer if a matrix is equal in both checkpoints, or needs a smaller
     * rank.
     */
    readonly mostBytes: number;
  };
}

/**
 * Plans {@link extractLora} without reading a tensor.
 *
 * @throws the errors of {@link extractLora} before it reads the first tensor.
 */
export async function planExtract(
  base: string,
  tuned: string,
  options: ExtractChoice & ExtractOptions,
): Promise<ExtractPlan> {
  const given = checkOptions(options, EXTRACT_OPTIONS, 'planExtract');
  return withBoth(base, tuned, given, async (from, to) => {
    const { selected, skipped } = selectModules(from, to, given);
    const { rank: wanted = Number.POSITIVE_INFINITY } = given as { rank?: number };
    const modules = selected.map(({ name, kind, tensor, info: { shape } }) => {
      return { name, kind, tensor, shape, rank: Math.min(wanted, ...shape) };
    });
    const numbers = modules.reduce((sum, { shape: [m, n], rank }) => sum + rank * (m! + n!), 0);
    return { modules, skipped, output: { mostBytes: storedBytes(numbers, given.dtype ?? 'F32') } };
  });
}

/** Opens both checkpoints, and closes them after `use`. */
async function withBoth<T>(
  base: string,
  tuned: string,
  options: ExtractChoice & ExtractOptions,
  work: (base: Checkpoint, tuned: Checkpoint) => Promise<T>,
): Promise<T> {
  checkChoice(options);
  const from = await open(base);
  try {
    const to = await open(tuned);
    try {
      for (const checkpoint of [from, to]) requireAdapterFormat(checkpoint, 'extracted from');
      requireSameFormat(from, to);
      requireTypeFor(architectureOf(to), options.dtype);
      return await work(from, to);
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}

/**
 * The largest m n min(m, n) for which all singular values are computed for a hint: some seconds.
 * The extraction needs only a few.
 */
const MOST_FOR_SPECTRUM = 2 ** 33;

/** A selected matrix that differs, and its update. */
interface ExtractedMatrix extends SelectedModule, ExtractedUpdate {}

async function extract(
  base: Checkpoint,
  tuned: Checkpoint,
  options: ExtractChoice & ExtractOptions & { baseName: string },
): Promise<ExtractedLora> {
  const { dtype = 'F32', method, seed, threads, signal } = options;
  const compute: ComputeOptions = { method, seed, threads, signal };
  const { selected, skipped } = selectModules(base, tuned, options);
  const progress = new Progress(
    selected.map(({ info }) => info.bytes),
    options.onProgress,
  );
  const found: ExtractedMatrix[] = [];
  const unchanged: string[] = [];
  for (const item of selected) {
    const { tensor, info } = item;
    signal?.throwIfAborted();
    progress.working(tensor, info.bytes, 0);
    const change = await differenceOf(base, tuned, item);
    if (change.data.every((value) => value === 0)) {
      unchanged.push(tensor);
    } else {
      const { name, kind, transposed } = item;
      const onProgress = (share: number) => progress.working(tensor, info.bytes, share);
      const extracted = await extractUpdate(change, { name, kind, dtype, transposed }, options, {
        ...compute,
        onProgress,
      });
      found.push({ ...item, ...extracted });
    }
    progress.finished(tensor, info.bytes);
  }
  if (found.length === 0) {
    throw new LowRankError(
      'ERR_NOT_FOUND',
      `${tuned.path}: none of the ${selected.length} selected matrices differs from ${base.path}`,
      {
        hint: 'Choose other tensors with --tensor, or check that the paths are not the same model.',
      },
    );
  }
  const updates = found.map(({ update }) => update);
  const model = { config: tuned.config, weights: tuned.tensors.keys() };
  const assembled = assemble(adapterConfig(model, found, options.baseName), updates);
  const modules: ExtractedModule[] = [];
  for (const item of found) {
    // Read the matrices a second time, because the scalings depend on all ranks, and only one
    // matrix is held at a time.
    signal?.throwIfAborted();
    const module = assembled.modules.get(item.name)!;
    const change = await differenceOf(base, tuned, item);
    const relativeError = await updateError(change, module, item.transposed, compute);
    const { tensor, kind, certificate, singularValues } = item;
    modules.push({
      name: item.name,
      kind,
      tensor,
      shape: item.info.shape,
      rank: module.rank,
      keptEnergy: 1 - relativeError ** 2,
      relativeError,
      certificate,
      singularValues,
    });
  }
  const shortfall = await findShortfall(modules, async ({ name, shape: [m, n] }) => {
    if (m! * n! * Math.min(m!, n!) > MOST_FOR_SPECTRUM) return undefined;
    const change = await differenceOf(base, tuned, found.find((item) => item.name === name)!);
    return (await singularValuesOf(change, { threads, signal })).data;
  });
  const uncovered = await findUncovered(base, tuned, new Set(selected.map(({ tensor }) => tensor)), signal);
  const architecture = architectureOf(tuned);
  const metadata = architecture === undefined ? new Map([['format', 'pt']]) : undefined;
  return {
    adapter: { ...assembled, others: new Map(), metadata, architecture, source: undefined },
    modules,
    shortfall,
    unchanged,
    skipped,
    uncovered,
    seconds: progress.seconds,
  };
}

function requireSameFormat(base: Checkpoint, tuned: Checkpoint): void {
  if (base.format === tuned.format) return;
  const formats = `${base.path} is ${base.format}, ${tuned.path} is ${tuned.format}`;
  throw new LowRankError('ERR_UNSUPPORTED', `${formats}: their tensors have different names`, {
    hint: 'Pass two models of one format; lowrank lora convert changes the format of the adapter.',
  });
}

function checkChoice(choice: ExtractChoice): void {
  const { rank, energy } = choice as { rank?: unknown; energy?: unknown };
  if ((rank === undefined) === (energy === undefined)) {
    throw new ArgumentError('options', 'exactly one of rank, energy', rank === undefined ? 'none' : ['rank', 'energy']);
  }
  if (rank !== undefined && !(Number.isSafeInteger(rank) && (rank as number) >= 1)) {
    throw new ArgumentError('rank', 'a whole number of at least 1', rank);
  }
  if (energy !== undefined && !(typeof energy === 'number' && energy > 0 && energy <= 1)) {
    throw new ArgumentError('energy', 'a number above 0, up to 1', energy);
  }
}

async function differenceOf(
  base: Checkpoint,
  tuned: Checkpoint,
  { tensor, info, baseInfo }: SelectedModule,
): Promise<PlainTensor> {
  const data = difference(
    { bytes: await base.read(tensor), dtype: baseInfo.dtype },
    { bytes: await tuned.read(tensor), dtype: info.dtype },
  );
  const index = data.findIndex((value) => !Number.isFinite(value));
  if (index >= 0) {
    const place = `[${Math.floor(index / info.shape[1]!)}, ${index % info.shape[1]!}]`;
    throw new LowRankError('ERR_NOT_FINITE', `${tensor}: the difference at ${place} is ${data[index]}`, {
      hint: 'One of the checkpoints is damaged or was trained to divergence.',
    });
  }
  return { data, shape: info.shape };
}

async function findUncovered(
  base: Checkpoint,
  tuned: Checkpoint,
  selected: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<UncoveredTensor[]> {
  const uncovered: UncoveredTensor[] = [];
  for (const name of new Set([...tuned.tensors.keys(), ...base.tensors.keys()])) {
    if (selected.has(name)) continue;
    signal?.throwIfAborted();
    const [before, after] = [base.tensors.get(name), tuned.tensors.get(name)];
    if (before === undefined) uncovered.push({ tensor: name, reason: 'only in tuned' });
    else if (after === undefined) uncovered.push({ tensor: name, reason: 'only in base' });
    else if (!sameShape(before.shape, after.shape)) uncovered.push({ tensor: name, reason: 'other shape' });
    else if (await differs(base, before, tuned, after)) uncovered.push({ tensor: name, reason: 'changed' });
  }
  return uncovered;
}

/** Compares floats by their numbers, everything else by its bytes. */
async function differs(base: Checkpoint, before: TensorInfo, tuned: Checkpoint, after: TensorInfo): Promise<boolean> {
  const [x, y] = [await base.read(before.name), await tuned.read(after.name)];
  if (before.dtype === after.dtype) return Buffer.compare(x, y) !== 0;
  if (!isReadableType(before.dtype) || !isReadableType(after.dtype)) return true;
  return difference({ bytes: x, dtype: before.dtype }, { bytes: y, dtype: after.dtype }).some((value) => value !== 0);
}
