import { type LoraAdapter, type LoraModule, requireTypeFor, storedFactors, transpose } from '../adapters/adapter.js';
import { adapterConfig } from '../adapters/adapter-config.js';
import { asModule } from '../adapters/assemble.js';
import { architectureOf } from '../adapters/modules.js';
import { configWithScalings } from '../adapters/peft-config.js';
import { CALL_OPTIONS, type CallOptions } from '../addon/call.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { open } from '../checkpoint/open.js';
import { describe, LowRankError } from '../errors.js';
import { absolutePath } from '../files/files.js';
import { matmul } from '../linalg/matmul.js';
import { factorize } from '../lowrank/factorize.js';
import type { LowRank } from '../lowrank/factors.js';
import type { MomentsKind } from '../lowrank/moments.js';
import { checkOptions, listOf, type OptionTypes, oneOf, text, wholeNumber } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import { toFloat32 } from '../tensor/convert.js';
import { WRITABLE_TYPES, type WritableType } from '../tensor/dtype.js';
import type { PlainTensor } from '../tensor/tensor.js';
import { pairWeights, type WeightPair } from './correction-pairs.js';
import { type MomentsFile, openMoments } from './moments.js';
import { momentsName } from './moments-name.js';
import type { LeftOut } from './select.js';
import { type InputMoments, weightedEnergy } from './weighted-error.js';

export interface CorrectOptions extends Omit<CallOptions, 'onProgress'> {
  /**
   * The rank of each module; a matrix with fewer rows or columns gets as many as it has. 32 by
   * default.
   */
  readonly rank?: number | undefined;
  /**
   * A file of moments of what the weights multiply: an imatrix of llama.cpp in GGUF, or moments as
   * `calibrate` writes them. Without it the plain error is corrected, which helps much less.
   */
  readonly calibration?: string | undefined;
  /** Names or globs of tensors of the quantised model; by default the matrices of its layers. */
  readonly tensors?: readonly string[] | undefined;
  /** The model's family, if the quantised model does not name it or is to be overridden. */
  readonly family?: string | undefined;
  /** The type of the factors, F32 by default. Q8_0 only in GGUF. */
  readonly dtype?: WritableType | undefined;
  /**
   * `base_model_name_or_path` of an adapter in PEFT's form; by default the quantised model's path.
   */
  readonly baseName?: string | undefined;
  onProgress?: ((progress: EditProgress) => void) | undefined;
}

const CORRECT_OPTIONS: OptionTypes<CorrectOptions> = {
  ...CALL_OPTIONS,
  ...JOB_OPTIONS,
  rank: wholeNumber(1),
  calibration: text,
  tensors: listOf(text),
  family: text,
  dtype: oneOf(WRITABLE_TYPES),
  baseName: text,
};

const DEFAULT_RANK = 32;

/** A weight that the adapter corrects. */
export interface CorrectedWeight {
  /** Its name in the quantised model. */
  readonly tensor: string;
  /** The adapter's name for it. */
  readonly module: string;
  readonly shape: readonly number[];
  /** Its type in the quantised model. */
  readonly dtype: string;
  readonly rank: number;
  /** The moments that weighed its error; undefined for none. */
  readonly moments: MomentsKind | undefined;
  /**
   * The error relative to the original, without and with the adapter's factors as they are written:
   * the root of the mean of |(W - Q) x|^2 over that of |W x|^2, without moments |W - Q| / |W|.
   */
  readonly errorBefore: number;
  readonly errorAfter: number;
}

/** A correction of a quantised model. */
export interface Correction {
  readonly adapter: LoraAdapter;
  readonly original: string;
  readonly quantised: string;
  readonly weights: readonly CorrectedWeight[];
  /** Matrices that are not corrected, and why. */
  readonly leftOut: readonly LeftOut[];
  /** The mean over the weights of the share of the squared error that the adapter removes. */
  readonly removed: number;
  /** Bytes of the factors, and bits for each number of the corrected weights. */
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly seconds: number;
}

/**
 * Makes a LoRA adapter of what quantisation took from a model: for each weight the best
 * approximation of a rank to W - Q in the norm of the vectors that the weight multiplies (Saha et
 * al. 2024, CALDERA; Zhang et al. 2024, QERA; Liu et al. 2024, EoRA). The quantised model stays as
 * it is; llama.cpp or PEFT add the adapter when they run it. Both models are read weight by weight.
 *
 * The adapter is in GGUF if the quantised model is, and in PEFT's form if it is a safetensors
 * checkpoint with dequantised weights. Write it with {@link writeAdapter}.
 *
 * @param original - safetensors or GGUF
 * @param quantised - the same model in GGUF, or in safetensors if the original is
 * @throws {@link LowRankError} `ERR_UNSUPPORTED` for formats that do not go together, models of
 *   unknown names in the other format, and if no weight can be corrected, with the reasons;
 *   `ERR_SHAPE` naming a weight that differs in shape, or moments that do not fit;
 *   `ERR_NOT_FINITE`; `ERR_ARGUMENT`; for reading as {@link openCheckpoint}; the signal's reason
 *   when aborted.
 */
export async function correctQuantization(
  original: string,
  quantised: string,
  options?: CorrectOptions,
): Promise<Correction> {
  const given = checkOptions(options, CORRECT_OPTIONS, 'correctQuantization');
  const { calibration } = given;
  const moments = calibration === undefined ? undefined : await openMoments(absolutePath(calibration));
  try {
    const from = await open(original);
    try {
      const to = await open(quantised);
      try {
        return await correct(from, to, moments, { ...given, baseName: given.baseName ?? quantised });
      } finally {
        await to.close();
      }
    } finally {
      await from.close();
    }
  } finally {
    await moments?.close();
  }
}

async function correct(
  original: Checkpoint,
  quantised: Checkpoint,
  moments: MomentsFile | undefined,
  options: CorrectOptions & { readonly baseName: string },
): Promise<Correction> {
  const { rank = DEFAULT_RANK, dtype = 'F32', signal, threads } = options;
  const architecture = architectureOf(quantised);
  requireTypeFor(architecture, dtype);
  const { pairs, leftOut } = pairWeights(original, quantised, options);
  const compute = { signal, threads };
  const progress = new Progress(
    pairs.map(({ quantised: { bytes } }) => bytes),
    options.onProgress,
  );
  const modules: LoraModule[] = [];
  const weights: CorrectedWeight[] = [];
  for (const pair of pairs) {
    const { name, bytes, shape } = pair.quantised;
    signal?.throwIfAborted();
    progress.working(name, bytes, 0);
    const weighing = await inputMoments(pair, moments);
    if (typeof weighing === 'string') {
      leftOut.push({ name, why: weighing });
    } else {
      const made = await correctOne(pair, quantised, weighing?.moments, { rank, dtype, ...compute });
      if (typeof made === 'string') leftOut.push({ name, why: made });
      else {
        modules.push(made.module);
        weights.push({
          tensor: name,
          module: pair.module,
          shape,
          dtype: pair.quantised.dtype,
          rank: made.module.rank,
          moments: weighing?.moments.kind,
          ...made.errors,
        });
      }
    }
    progress.finished(name, bytes);
  }
  if (modules.length === 0) throw nothingToCorrect(quantised, leftOut);
  const bytes = modules.reduce((sum, { a, b }) => sum + a.bytes.length + b.bytes.length, 0);
  const numbers = weights.reduce((sum, { shape: [m, n] }) => sum + m! * n!, 0);
  return {
    adapter: adapterOf(modules, pairs, quantised, options.baseName, architecture),
    original: original.path,
    quantised: quantised.path,
    weights,
    leftOut,
    removed:
      1 -
      weights.reduce((sum, { errorBefore, errorAfter }) => sum + (errorAfter / errorBefore) ** 2, 0) / weights.length,
    bytes,
    bitsPerWeight: (8 * bytes) / numbers,
    seconds: progress.seconds,
  };
}

/** Corrects one weight; returns why not, if there is nothing to correct. */
async function correctOne(
  { module: name, kind, transposed, quantised: info, original }: WeightPair,
  quantised: Checkpoint,
  moments: InputMoments | undefined,
  { rank, dtype, ...compute }: { rank: number; dtype: WritableType } & Pick<CallOptions, 'signal' | 'threads'>,
): Promise<{ module: LoraModule; errors: Pick<CorrectedWeight, 'errorBefore' | 'errorAfter'> } | string> {
  const straight = (matrix: PlainTensor) => (transposed ? transpose(matrix) : matrix);
  const w = straight(await original());
  const q = straight({ data: toFloat32(await quantised.read(info.name), info.dtype), shape: info.shape });
  const error = { data: w.data.map((value, i) => value - q.data[i]!), shape: w.shape };
  if (error.data.every((value) => value === 0)) return 'it is equal in both models';
  const [m, n] = error.shape as [number, number];
  const whole = await weightedEnergy(w, moments, compute);
  const before = await weightedEnergy(error, moments, compute);
  // An input that is always 0 hides any error.
  if (!(before > 0)) return 'its error does not change any output of the calibration';
  const factors = await factorize(error, { rank: Math.min(rank, m, n), moments, ...compute });
  const module = asModule({ name, kind, dtype, ...levelled(factors) }, rank);
  const { left, right } = storedFactors(module, false);
  const product = await matmul(left, right, compute);
  const rest = { data: error.data.map((value, i) => value - product.data[i]!), shape: error.shape };
  const after = await weightedEnergy(rest, moments, compute);
  return { module, errors: { errorBefore: Math.sqrt(before / whole), errorAfter: Math.sqrt(after / whole) } };
}

/**
 * Gives B columns of equal length and both factors numbers of equal size, so that neither leaves
 * the range of a 16-bit type, and the blocks of Q8_0 along the rows of B hold numbers of one size.
 */
function levelled({ b: wide, a: long, rank: k }: LowRank): { a: PlainTensor; b: PlainTensor } {
  const [m, n] = [wide.data.length / k, long.data.length / k];
  const lengths = new Float64Array(k);
  wide.data.forEach((value, i) => {
    lengths[i % k]! += value * value;
  });
  let energy = 0;
  const a = long.data.map((value, i) => {
    const scaled = value * Math.sqrt(lengths[Math.floor(i / n)]!);
    energy += scaled * scaled;
    return scaled;
  });
  // The root mean squares are sqrt(1 / m) in B and sqrt(energy / (k n)) in A.
  const size = energy > 0 ? Math.sqrt(Math.sqrt((energy * m) / (k * n))) : 1;
  const b = wide.data.map((value, i) => (lengths[i % k]! > 0 ? (value / Math.sqrt(lengths[i % k]!)) * size : 0));
  return { a: { data: a.map((value) => value / size), shape: [k, n] }, b: { data: b, shape: [m, k] } };
}

/**
 * The moments of a weight, undefined without a file of them; or why it cannot be corrected by the
 * file.
 */
async function inputMoments(
  { names, quantised: { name, shape }, transposed }: WeightPair,
  file: MomentsFile | undefined,
): Promise<{ moments: InputMoments } | undefined | string> {
  if (file === undefined) return undefined;
  const known = momentsName(file.weights, names);
  const moments = known === undefined ? undefined : await file.read(known);
  if (moments === undefined) return 'the calibration has no moments of it';
  const { kind, second } = moments;
  if (kind === 'outputs')
    return 'the calibration has moments of its outputs, but a correction needs those of its inputs';
  const n = transposed ? shape[0]! : shape[1]!;
  if (second.length !== (kind === 'inputs' ? n * n : n)) {
    const message = `${name}: the calibration has moments of ${kind === 'inputs' ? Math.sqrt(second.length) : second.length} inputs, but the weight has ${n}`;
    throw new LowRankError('ERR_SHAPE', message, { hint: 'The calibration belongs to another model.' });
  }
  return { moments: { ...moments, kind } };
}

function adapterOf(
  modules: readonly LoraModule[],
  pairs: readonly WeightPair[],
  quantised: Checkpoint,
  baseName: string,
  architecture: string | undefined,
): LoraAdapter {
  const byModule = new Map(pairs.map((pair) => [pair.module, pair]));
  const described = modules.map(({ name, kind }) => {
    const { transposed, quantised: info } = byModule.get(name)!;
    return { name, kind, transposed, tensor: info.name };
  });
  const config = adapterConfig({ config: quantised.config, weights: quantised.tensors.keys() }, described, baseName);
  return {
    config: configWithScalings(
      config,
      new Map(modules.map(({ name, rank }) => [name, rank])),
      new Map(modules.map(({ name, alpha }) => [name, alpha])),
    ),
    modules: new Map(modules.map((module) => [module.name, module])),
    others: new Map(),
    metadata: architecture === undefined ? new Map([['format', 'pt']]) : undefined,
    architecture,
    source: undefined,
  };
}

function nothingToCorrect({ path }: Checkpoint, leftOut: readonly LeftOut[]): LowRankError {
  const [first] = leftOut;
  return new LowRankError('ERR_UNSUPPORTED', `${path}: no weight can be corrected`, {
    hint: first && `${describe(first.name)}: ${first.why}.`,
  });
}
