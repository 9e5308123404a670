import { CALL_OPTIONS, type CallOptions } from '../addon/call.js';
import type { Checkpoint, TensorChange } from '../checkpoint/checkpoint.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import { open } from '../checkpoint/open.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { absolutePath } from '../files/files.js';
import { factorize } from '../lowrank/factorize.js';
import type { LowRank } from '../lowrank/factors.js';
import { boolean, checkOptions, number, type OptionTypes, oneOf, text } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import { toFloat32 } from '../tensor/convert.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Allotted, allocate, type Candidate, type Storage } from './allocate.js';
import { type MomentsFile, openMoments } from './moments.js';
import { compressibleLayers, type Layer, type LeftOut } from './select.js';
import { storedBytes, storedTensors, transposed } from './stored-factors.js';

export interface CompressOptions extends Omit<CallOptions, 'onProgress'> {
  /** The share of the numbers of the linear layers that the result holds, above 0 and up to 1. */
  keep: number;
  /** A file of moments of the layers' inputs, as `openMoments` reads it. */
  calibration?: string | undefined;
  /** Compresses without moments, by the plain error of the weights. Decoders do not survive that. */
  uncalibrated?: boolean | undefined;
  /** `pivoted` by default: smaller files at the same rank. `factors` for programs that do not fold constants. */
  storage?: Storage | undefined;
  /** Compresses heads and classifiers too. */
  heads?: boolean | undefined;
  /** Chooses ranks and reports them, writes nothing. */
  dryRun?: boolean | undefined;
  onProgress?: ((progress: EditProgress) => void) | undefined;
}

const COMPRESS_OPTIONS: OptionTypes<CompressOptions> = {
  ...CALL_OPTIONS,
  ...JOB_OPTIONS,
  keep: number,
  calibration: text,
  uncalibrated: boolean,
  storage: oneOf(['factors', 'pivoted']),
  heads: boolean,
  dryRun: boolean,
};

/** A linear layer of the result. */
export interface CompressedLayer extends Allotted {
  /** [outputs, inputs]. */
  readonly shape: readonly [m: number, n: number];
  /**
   * The relative error, a root: of the layer's outputs on the vectors of calibration, without them of the weight.
   * Predicted by the singular values; measured on the factors once they are made.
   */
  readonly error: number;
}

export interface CompressReport {
  readonly source: string;
  readonly storage: Storage;
  readonly calibrated: boolean;
  readonly layers: readonly CompressedLayer[];
  /** Matrices that no linear layer of this kind multiplies by, or that are protected. */
  readonly leftOut: readonly LeftOut[];
  /** Layers that stay dense because the calibration has no moments of their inputs. */
  readonly withoutMoments: readonly string[];
  /** Vectors of calibration for each input of a layer, the smallest of all layers; below about 20 ranks are a guess. */
  readonly vectorsPerInput: number | undefined;
  /** The numbers of all linear layers, before and after. */
  readonly parameters: { readonly before: number; readonly after: number };
  /** Undefined for a dry run. */
  readonly output: OutputSummary | undefined;
  readonly seconds: number;
}

/**
 * Compresses the linear layers of a model: finds factors for each, weighted by the moments of its inputs; chooses the ranks
 * of all together, with some layers left dense; and writes the model with factors in place of the weights.
 *
 * @param source an ONNX file, or a folder with one; not modified
 * @param out must not exist
 * @throws ArgumentError; LowRankError `ERR_UNSUPPORTED` without moments unless `uncalibrated`, where no layer can become
 * factors, and where the budget is too small; as `openCheckpoint`, `openMoments`, and {@link withCopy} for `out`.
 */
export async function compressCheckpoint(
  source: string,
  out: string | undefined,
  options: CompressOptions,
): Promise<CompressReport> {
  const given = checkOptions(options, COMPRESS_OPTIONS, 'compressCheckpoint');
  const { keep, calibration, uncalibrated = false } = given;
  if (!(keep > 0 && keep <= 1)) throw new ArgumentError('keep', 'a number above 0 and up to 1', keep);
  if (calibration === undefined && !uncalibrated) {
    throw new LowRankError('ERR_UNSUPPORTED', 'missing calibration: plain approximations of weights ruin most models', {
      hint: 'Make moments with `lowrank calibrate` and pass --calibration <file>, or insist with --uncalibrated.',
    });
  }
  if (out === undefined && !given.dryRun) throw new ArgumentError('out', 'a path', out);
  const moments = calibration === undefined ? undefined : await openMoments(absolutePath(calibration));
  try {
    const checkpoint = await open(source);
    try {
      return await compress(checkpoint, out, given, moments);
    } finally {
      await checkpoint.close();
    }
  } finally {
    await moments?.close();
  }
}

async function compress(
  checkpoint: Checkpoint,
  out: string | undefined,
  options: CompressOptions,
  moments: MomentsFile | undefined,
): Promise<CompressReport> {
  const { keep, storage = 'pivoted', signal, threads, heads, dryRun } = options;
  const compute = { ...(signal && { signal }), ...(threads !== undefined && { threads }) };
  const { layers: all, leftOut } = compressibleLayers(checkpoint, { heads: heads ?? false });
  const has = ({ name, info }: Layer) =>
    moments === undefined || moments.weights.has(name) || moments.weights.has(info.name);
  const layers = all.filter(has);
  if (layers.length === 0) {
    const message = `${checkpoint.path}: no linear layer can become factors${all.length > 0 ? ', since the calibration has no moments of any' : ''}`;
    const [first] = leftOut;
    throw new LowRankError('ERR_UNSUPPORTED', message, { hint: first && `${first.name}: ${first.why}.` });
  }
  const progress = new Progress(
    [...layers, ...layers].map(({ info }) => info.bytes),
    options.onProgress,
  );

  let vectorsPerInput: number | undefined;
  const candidates: Candidate[] = [];
  for (const layer of layers) {
    const { m, n, name, info } = layer;
    const read = await moments?.read(moments.weights.has(name) ? name : info.name);
    if (read?.count !== undefined)
      vectorsPerInput = Math.min(vectorsPerInput ?? Number.POSITIVE_INFINITY, read.count / n);
    progress.working(name, info.bytes, 0);
    const { singularValues } = await factorize(await weightOf(checkpoint, layer), {
      rank: Math.min(m, n),
      moments: read,
      ...compute,
    });
    candidates.push({ name, m, n, singularValues: singularValues.data });
    progress.finished(name, info.bytes);
  }
  const before = layers.reduce((sum, { m, n }) => sum + m * n, 0);
  const { matrices, parameters: after } = allocate(candidates, { budget: keep * before, storage });

  const described = layers.map(({ m, n }, i) => ({
    ...matrices[i]!,
    shape: [m, n] as const,
    error: Math.sqrt(matrices[i]!.loss),
  }));
  const report = {
    source: checkpoint.path,
    storage,
    calibrated: moments !== undefined,
    leftOut,
    withoutMoments: all.filter((layer) => !has(layer)).map(({ name }) => name),
    vectorsPerInput,
    parameters: { before, after },
  };
  if (dryRun || out === undefined) {
    return { ...report, layers: described, output: undefined, seconds: progress.seconds };
  }
  const changes = new Map<string, TensorChange>(
    layers.flatMap((layer, i) => {
      const { rank } = matrices[i]!;
      return rank === undefined ? [] : [[layer.info.name, { by: storedTensors(layer, rank, storage) }] as const];
    }),
  );
  const { result, output } = await withCopy(
    checkpoint,
    out,
    { ...(signal && { signal }), changes, onCommit: () => progress.phase('commit') },
    async (copy) => {
      const written: CompressedLayer[] = [];
      for (const [i, layer] of layers.entries()) {
        const { name, info } = layer;
        const { rank } = matrices[i]!;
        let { error } = described[i]!;
        if (rank !== undefined) {
          progress.working(name, info.bytes, 0);
          const read = await moments?.read(moments.weights.has(name) ? name : info.name);
          const factors: LowRank = await factorize(await weightOf(checkpoint, layer), {
            rank,
            moments: read,
            ...compute,
          });
          for (const [tensor, bytes] of await storedBytes(factors, layer, storage, compute))
            await copy.write(tensor, bytes);
          error = factors.certificate.relativeError;
        }
        written.push({ ...described[i]!, error });
        progress.finished(name, info.bytes);
      }
      return written;
    },
  );
  return { ...report, layers: result, output, seconds: progress.seconds };
}

/** The weight of a layer, [m, n]. */
async function weightOf(checkpoint: Checkpoint, { info, m, n }: Layer): Promise<Tensor> {
  const stored = toFloat32(await checkpoint.read(info.name), info.dtype as FloatDType);
  return { data: info.orientation === 'in x out' ? transposed(stored, n, m) : stored, shape: [m, n] };
}
