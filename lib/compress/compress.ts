import { CALL_OPTIONS, type CallOptions } from '../addon/call.js';
import type { Checkpoint, TensorChange } from '../checkpoint/checkpoint.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import { open } from '../checkpoint/open.js';
import { ArgumentError, LowRankError } from '../errors.js';
import type { Runtime } from '../evaluate/engines/onnx-feeds.js';
import { importPeer } from '../evaluate/engines/peers.js';
import { absolutePath } from '../files/files.js';
import { boolean, checkOptions, number, type OptionTypes, oneOf, text } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import type { Allotted, Storage } from './allocate.js';
import { type Chosen, chooseRanks, type MeasuredLayer, measured, type Weighting } from './choose.js';
import { LayerFactors } from './layer-factors.js';
import { type MomentsFile, openMoments } from './moments.js';
import { Probe } from './probe.js';
import { tensorSamples, textSamples } from './samples.js';
import { compressibleLayers, type Layer, type LeftOut } from './select.js';
import { storedBytes, storedTensors } from './stored-factors.js';

export interface CompressOptions extends Omit<CallOptions, 'onProgress'> {
  /** The share of the numbers of the linear layers that the result holds, above 0 and up to 1. */
  keep: number;
  /** A file of moments of the layers' inputs, as `openMoments` reads it. */
  calibration?: string | undefined;
  /** Compresses without moments, by the plain error of the weights. Decoders do not survive that. */
  uncalibrated?: boolean | undefined;
  /** `pivoted` by default: smaller files at the same rank. `factors` for programs that do not fold constants. */
  storage?: Storage | undefined;
  /** Texts, or inputs, to try ranks on, as `calibrate` takes them; best others than those of the calibration. */
  texts?: string | undefined;
  inputs?: string | undefined;
  /** Where to look for onnxruntime-node and \@huggingface/tokenizers besides this package. */
  peers?: string | undefined;
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
  texts: text,
  inputs: text,
  peers: text,
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
  /** What the losses of layers were weighed by. */
  readonly weighting: Weighting;
  /** The loss of the model's outputs by each weighting, where texts or inputs were there to try them on. */
  readonly losses: Chosen['losses'];
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
 * factors, and where the budget is too small; as `openCheckpoint`, `openMoments`, and `editCheckpoint` for `out`.
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
  const source = new LayerFactors(checkpoint, moments, compute);
  const { layers: all, leftOut } = compressibleLayers(checkpoint, { heads: heads ?? false });
  const layers = all.filter((layer) => source.has(layer));
  if (layers.length === 0) {
    const message = `${checkpoint.path}: no linear layer can become factors${all.length > 0 ? ', since the calibration has no moments of any' : ''}`;
    const [first] = leftOut;
    throw new LowRankError('ERR_UNSUPPORTED', message, { hint: first && `${first.name}: ${first.why}.` });
  }
  const progress = new Progress(
    [...layers, ...layers].map(({ info }) => info.bytes),
    options.onProgress,
  );
  const before = layers.reduce((sum, { m, n }) => sum + m * n, 0);
  const { chosen, vectorsPerInput } = await withProbe(checkpoint, layers, options, async (probe) => {
    let vectors: number | undefined;
    const found: MeasuredLayer[] = [];
    for (const layer of layers) {
      const { name, info, n } = layer;
      signal?.throwIfAborted();
      progress.working(name, info.bytes, 0);
      const count = (await source.momentsOf(layer))?.count;
      if (count !== undefined) vectors = Math.min(vectors ?? Number.POSITIVE_INFINITY, count / n);
      found.push(await measured(layer, source, probe));
      progress.finished(name, info.bytes);
    }
    const ranks = await chooseRanks(found, { budget: keep * before, storage }, source, probe);
    return { chosen: ranks, vectorsPerInput: vectors };
  });
  const { matrices, parameters: after } = chosen.allocation;

  const described = layers.map(({ m, n }, i) => ({
    ...matrices[i]!,
    shape: [m, n] as const,
    error: Math.sqrt(matrices[i]!.loss),
  }));
  const report = {
    source: checkpoint.path,
    storage,
    calibrated: moments !== undefined,
    weighting: chosen.weighting,
    losses: chosen.losses,
    leftOut,
    withoutMoments: all.filter((layer) => !source.has(layer)).map(({ name }) => name),
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
          const factors = await source.factors(layer, rank);
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

/** The most samples that ranks are tried on, and their tokens. */
const TRIALS = { samples: 16, length: 128 } as const;

/** Opens what tries ranks on the model while `use` runs, if there are samples for it. */
async function withProbe<T>(
  checkpoint: Checkpoint,
  layers: readonly Layer[],
  { texts, inputs, peers, threads }: CompressOptions,
  use: (probe: Probe | undefined) => Promise<T>,
): Promise<T> {
  if (texts === undefined && inputs === undefined) return use(undefined);
  const { graph } = checkpoint;
  const other = layers.find(({ info }) => info.dtype !== 'F32');
  if (graph === undefined || other !== undefined) {
    const why = other === undefined ? 'its files hold no computation' : `${other.name} is ${other.info.dtype}`;
    throw new LowRankError('ERR_UNSUPPORTED', `${checkpoint.path}: cannot be tried on samples: ${why}`, {
      hint: 'Leave out the texts or inputs: then ranks are chosen by the moments alone.',
    });
  }
  const runtime = await importPeer<Runtime>('onnxruntime-node', peers);
  const samples =
    texts === undefined
      ? await tensorSamples(absolutePath(inputs!), TRIALS.samples)
      : await textSamples(checkpoint.main, absolutePath(texts), { ...TRIALS, peers });
  try {
    const probe = await Probe.open(checkpoint, graph, layers, samples, runtime, threads);
    try {
      return await use(probe);
    } finally {
      await probe.close();
    }
  } finally {
    await samples.close();
  }
}
