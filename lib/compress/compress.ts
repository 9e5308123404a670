import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { requireOutput } from '../checkpoint/copy/output.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import { open } from '../checkpoint/open.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { absolutePath } from '../files/files.js';
import { Progress } from '../progress.js';
import type { Allotted, Storage } from './allocate.js';
import { numbersOf, numbersWithin, weightBytes } from './budget.js';
import { type Chosen, chooseRanks, type MeasuredLayer, measured, type Weighting } from './choose.js';
import { requireCompressible } from './compressible.js';
import { decompose } from './decompose.js';
import { LayerFactors } from './layer-factors.js';
import { type MomentsFile, openMoments } from './moments.js';
import { type CompressOptions, checkedOptions } from './options.js';
import type { OutputChange } from './output-change.js';
import { compressibleLayers, type Layer, type LeftOut } from './select.js';
import { type Trials, withTrials } from './trials.js';
import { smallestWithin } from './within-divergence.js';
import { type Work, withWork } from './work-folder.js';
import { changesFor, type Decided, writeCompressed } from './write.js';

/** A linear layer of the result. */
export interface CompressedLayer extends Allotted {
  /** [outputs, inputs]. */
  readonly shape: readonly [m: number, n: number];
  /**
   * The relative error, a root: of the layer's outputs on the vectors of calibration, about their
   * mean where a bias takes up the error of the mean; without them of the weight. Predicted by the
   * singular values; measured on the factors once they are made.
   */
  readonly error: number;
}

export interface CompressReport {
  readonly source: string;
  readonly storage: Storage;
  readonly calibrated: boolean;
  /** What the losses of layers were weighed by. */
  readonly weighting: Weighting;
  /**
   * The loss of the model's outputs by each weighting, where texts or inputs were there to try them
   * on.
   */
  readonly losses: Chosen['losses'];
  readonly layers: readonly CompressedLayer[];
  /** Matrices that no linear layer of this kind multiplies by, or that are protected. */
  readonly leftOut: readonly LeftOut[];
  /** Layers that stay dense because the calibration has no moments of their inputs. */
  readonly withoutMoments: readonly string[];
  /**
   * Vectors of calibration for each input of a layer, the smallest of all layers; below about 20
   * ranks are a guess.
   */
  readonly vectorsPerInput: number | undefined;
  /** The numbers of all linear layers, before and after. */
  readonly parameters: { readonly before: number; readonly after: number };
  /** The bytes of all weight files, before and after. */
  readonly bytes: { readonly before: number; readonly after: number };
  /** Multiplications for one vector of inputs of each layer, before and after. */
  readonly multiplications: { readonly before: number; readonly after: number };
  /**
   * How far the written model's outputs are from the original's, with both loaded into onnxruntime,
   * on samples that no rank was chosen by if there are enough. Undefined for a dry run, and without
   * texts or inputs.
   */
  readonly check: OutputChange | undefined;
  /** Undefined for a dry run. */
  readonly output: OutputSummary | undefined;
  readonly seconds: number;
}

/**
 * Compresses the linear layers of a model: finds factors for each, weighted by the moments of its
 * inputs; chooses the ranks of all together, with some layers left dense; writes the model with
 * factors in place of the weights; and compares it with the original before it appears. An
 * interrupted job resumes when it is called again.
 *
 * @param source an ONNX file, or a folder with one or with safetensors; not modified
 * @param out must not exist
 * @throws ArgumentError; LowRankError `ERR_UNSUPPORTED` without moments unless `uncalibrated`,
 *   where no layer can become
 * factors, and where the budget is too small; `ERR_ENGINE` where a model does not run; as
 * `openCheckpoint`, `openMoments`, and `editCheckpoint` for `out`.
 */
export async function compressCheckpoint(
  source: string,
  out: string | undefined,
  options: CompressOptions,
): Promise<CompressReport> {
  const given = checkedOptions(options, 'compressCheckpoint');
  const { calibration, dryRun = false, work, restart, signal } = given;
  if (out === undefined && !dryRun) throw new ArgumentError('out', 'a path', out);
  const moments = calibration === undefined ? undefined : await openMoments(absolutePath(calibration));
  try {
    const checkpoint = await open(source);
    try {
      const target = dryRun ? undefined : out;
      if (target !== undefined) await requireOutput(checkpoint, target);
      await requireCompressible(checkpoint);
      return await withWork({ work, out: target, restart, signal }, (folder) =>
        compress(checkpoint, target, given, moments, folder),
      );
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
  work: Work,
): Promise<CompressReport> {
  const { storage = 'pivoted', signal } = options;
  const source = new LayerFactors(checkpoint, moments, work.decompositions, options);
  const { layers: all, leftOut } = compressibleLayers(checkpoint, { heads: options.heads ?? false, storage });
  const layers = all.filter((layer) => source.has(layer));
  requireLayers(checkpoint, layers, all, leftOut);
  const progress = new JobProgress(layers, out !== undefined, options);
  await decompose(layers, source, { ...options, started: progress.started, finished: progress.finished });
  return withTrials(checkpoint, layers, source, options, work.measurements, async (trials) => {
    const chosen = await choose(checkpoint, layers, options, source, trials, progress);
    const { matrices, parameters: after } = chosen.allocation;
    const decided = layers.map((layer, i): Decided => ({ layer, allotted: matrices[i]! }));
    const before = numbersOf(layers);
    const report = {
      source: checkpoint.path,
      storage,
      calibrated: moments !== undefined,
      weighting: chosen.weighting,
      losses: chosen.losses,
      leftOut,
      withoutMoments: all.filter((layer) => !source.has(layer)).map(({ name }) => name),
      vectorsPerInput: await vectorsPerInput(layers, source),
      parameters: { before, after },
      bytes: {
        before: await weightBytes(checkpoint),
        after: await weightBytes(checkpoint, changesFor(decided, storage)),
      },
      multiplications: { before, after: multiplications(decided) },
    };
    const errors = new Map(decided.map(({ allotted: { name, loss } }) => [name, Math.sqrt(loss)]));
    const described = () =>
      decided.map(
        ({ layer: { m, n }, allotted }): CompressedLayer => ({
          ...allotted,
          shape: [m, n],
          error: errors.get(allotted.name)!,
        }),
      );
    if (out === undefined) {
      return { ...report, layers: described(), check: undefined, output: undefined, seconds: progress.seconds };
    }
    const { result: check, output } = await writeCompressed(checkpoint, out, decided, source, {
      storage,
      signal,
      started: progress.started,
      finished: (layer, factors) => {
        if (factors !== undefined) errors.set(layer.name, factors.certificate.relativeError);
        progress.finished(layer);
      },
      judge: async (main) => trials?.check(main),
      onCommit: () => progress.commit(),
    });
    return { ...report, layers: described(), check, output, seconds: progress.seconds };
  });
}

async function choose(
  checkpoint: Checkpoint,
  layers: readonly Layer[],
  { keep, size, maxKl, storage = 'pivoted', signal }: CompressOptions,
  source: LayerFactors,
  trials: Trials | undefined,
  progress: JobProgress,
): Promise<Chosen> {
  const found: MeasuredLayer[] = [];
  for (const layer of layers) {
    signal?.throwIfAborted();
    progress.started(layer);
    found.push(await measured(layer, source, trials));
    progress.finished(layer);
  }
  const within = (budget: number) => chooseRanks(found, { budget, storage }, source, trials?.probe);
  const all = numbersOf(layers);
  if (maxKl === undefined) {
    return within(size === undefined ? keep! * all : await numbersWithin(checkpoint, layers, size, storage));
  }
  if (!trials?.probe.hasLogits) {
    throw new LowRankError('ERR_UNSUPPORTED', `${checkpoint.path}: has no logits, whose divergence maxKl could limit`, {
      hint: 'Use keep or size (--keep, --size).',
    });
  }
  const smallest = await smallestWithin(maxKl, [0, all], async (budget) => {
    const result = await within(budget);
    return { result, divergence: result.losses[result.weighting]! };
  });
  return smallest ?? within(all);
}

/**
 * Counts each layer for its decomposition, for its measurement and, where a model is written, for
 * its factors.
 */
class JobProgress {
  readonly #progress: Progress;

  constructor(layers: readonly Layer[], writes: boolean, { onProgress }: CompressOptions) {
    const sizes = layers.map(({ info }) => info.bytes);
    this.#progress = new Progress(writes ? [...sizes, ...sizes, ...sizes] : [...sizes, ...sizes], onProgress);
  }

  get seconds(): number {
    return this.#progress.seconds;
  }

  readonly started = ({ name, info }: Layer): void => this.#progress.working(name, info.bytes, 0);

  readonly finished = ({ name, info }: Layer, stored = false): void =>
    stored ? this.#progress.resumed(name, info.bytes) : this.#progress.finished(name, info.bytes);

  commit(): void {
    this.#progress.phase('commit');
  }
}

function requireLayers(
  { path }: Checkpoint,
  layers: readonly Layer[],
  all: readonly Layer[],
  [first]: readonly LeftOut[],
): void {
  if (layers.length > 0) return;
  const why = all.length > 0 ? ', since the calibration has no moments of any' : '';
  throw new LowRankError('ERR_UNSUPPORTED', `${path}: no linear layer can become factors${why}`, {
    hint: first && `${first.name}: ${first.why}.`,
  });
}

async function vectorsPerInput(layers: readonly Layer[], source: LayerFactors): Promise<number | undefined> {
  let least: number | undefined;
  for (const layer of layers) {
    const count = await source.vectors(layer);
    if (count !== undefined) least = Math.min(least ?? Number.POSITIVE_INFINITY, count / layer.n);
  }
  return least;
}

/** Above its break-even rank a layer is multiplied by the product, as if it were dense. */
function multiplications(decided: readonly Decided[]): number {
  return decided.reduce(
    (sum, { layer: { m, n }, allotted: { rank } }) =>
      sum + Math.min(m * n, rank === undefined ? m * n : rank * (m + n)),
    0,
  );
}
