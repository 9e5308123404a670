import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { requireOutput } from '../checkpoint/copy/output.js';
import { open } from '../checkpoint/open.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { absolutePath } from '../files/files.js';
import { Progress } from '../progress.js';
import { weightBytes } from './budget.js';
import { requireCompressible } from './compressible.js';
import { decide } from './decide.js';
import { decompose } from './decompose.js';
import { inDtypeFolder } from './dtype-folder.js';
import { Forms } from './forms.js';
import { LayerFactors } from './layer-factors.js';
import { type Matrix, matricesOf } from './matrices.js';
import { type MomentsFile, openMoments } from './moments.js';
import { type CompressOptions, checkedOptions, waysFor } from './options.js';
import { type CompressReport, described, totals } from './report.js';
import type { Layer, LeftOut } from './select.js';
import { withTrials } from './trials.js';
import { type Work, withWork } from './work-folder.js';
import { changesFor, type Decided, writeCompressed } from './write.js';

/** Of MatMulNBits: it may round inputs to 8 bits, which is faster. */
const ACCURACY_LEVEL = 4;

/**
 * Compresses a model. Measures what each matrix loses as low-rank factors, as whole numbers of few
 * bits, and as these with factors that correct their error, by the moments of its inputs; chooses
 * one of these ways, or dense, for all matrices together within one budget; writes the model; and
 * compares it with the original before it appears. An interrupted job resumes when it is called
 * again.
 *
 * Few bits are for ONNX. With `keep` or `float`, and in safetensors, matrices become factors alone.
 *
 * @param source an ONNX file, or a folder with one or with safetensors; not modified
 * @param out must not exist
 * @throws ArgumentError; LowRankError `ERR_UNSUPPORTED` for factors alone without moments unless
 *   `uncalibrated`, where no matrix can become anything else, and where the budget is too small;
 *   `ERR_ENGINE` where a model does not run; as `openCheckpoint`, `openMoments`, and
 *   `editCheckpoint` for `out`.
 */
export async function compressCheckpoint(
  source: string,
  out: string | undefined,
  options: CompressOptions,
): Promise<CompressReport> {
  const given = checkedOptions(options, 'compressCheckpoint');
  const { dryRun = false, dtype } = given;
  if (out === undefined && !dryRun) throw new ArgumentError('out', 'a path', out);
  const target = dryRun ? undefined : out;
  if (dtype === undefined || target === undefined) return run(source, target, target, given);
  return inDtypeFolder(source, target, dtype, (model, file) => run(model, file, target, given));
}

/** @param beside the path beside which unfinished work is kept */
async function run(
  source: string,
  out: string | undefined,
  beside: string | undefined,
  options: CompressOptions,
): Promise<CompressReport> {
  const { calibration, work, restart, signal } = options;
  const moments = calibration === undefined ? undefined : await openMoments(absolutePath(calibration));
  try {
    const checkpoint = await open(source);
    try {
      if (out !== undefined) await requireOutput(checkpoint, out);
      await requireCompressible(checkpoint);
      return await withWork({ work, out: beside, restart, signal }, (folder) =>
        compress(checkpoint, out, options, moments, folder),
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
  { decompositions, measurements }: Work,
): Promise<CompressReport> {
  const { preset, storage = 'pivoted', accuracyLevel = ACCURACY_LEVEL, signal } = options;
  const source = new LayerFactors(checkpoint, moments, decompositions, options);
  const forms = new Forms(source);
  const { all, matrices, leftOut } = offeredIn(checkpoint, source, options);
  const factored = matrices.filter((matrix) => matrix.factors);
  const measured = preset !== undefined && out !== undefined ? [] : matrices;
  const progress = new JobProgress([factored, measured, out === undefined ? [] : matrices], options);
  const { started, finished } = progress;
  await decompose(factored, source, { ...options, started, finished });
  const changing = matrices.flatMap((matrix) => [matrix.info, ...[source.biasOf(matrix) ?? []].flat()]);
  return withTrials(checkpoint, changing, options, measurements, async (trials) => {
    const deciding = { checkpoint, matrices, forms, measurements, trials, started, finished };
    const { ways, weighting, losses, latency } = await decide(deciding, { ...options, accuracyLevel });
    const decided = matrices.map((matrix, i): Decided => ({ matrix, stored: ways[i]!.stored }));
    const layers = matrices.map((matrix, i) => described(matrix, ways[i]!));
    const report = {
      source: checkpoint.path,
      preset,
      storage,
      calibrated: moments !== undefined,
      weighting,
      losses,
      latency,
      leftOut,
      withoutMoments: moments === undefined ? [] : withoutMoments(all, forms),
      vectorsPerInput: await vectorsPerInput(matrices, source),
      ...totals(matrices, ways),
      bytes: {
        before: await weightBytes(checkpoint),
        after: await weightBytes(checkpoint, changesFor(decided, accuracyLevel)),
      },
    };
    if (out === undefined) {
      return { ...report, layers, check: undefined, output: undefined, seconds: progress.seconds };
    }
    const errors = new Map<Matrix, number>();
    const { result: check, output } = await writeCompressed(checkpoint, out, decided, forms, {
      storage,
      accuracyLevel,
      signal,
      started,
      finished: (matrix, formed) => {
        if (formed !== undefined) errors.set(matrix, formed.error);
        finished(matrix);
      },
      judge: async (main) => trials?.check(main),
      onCommit: () => progress.commit(),
    });
    const written = layers.map((layer, i) => ({ ...layer, error: errors.get(matrices[i]!) ?? layer.error }));
    return { ...report, layers: written, check, output, seconds: progress.seconds };
  });
}

/** The matrices that something is offered for; without few bits, those with moments. */
function offeredIn(checkpoint: Checkpoint, source: LayerFactors, options: CompressOptions) {
  const { matrices: all, leftOut } = matricesOf(checkpoint, waysFor(checkpoint, options));
  const matrices = all
    .map((matrix): Matrix => ({ ...matrix, factors: matrix.factors && source.has(matrix) }))
    .filter(({ factors, codes }) => factors || codes);
  requireMatrices(checkpoint, matrices, all, leftOut);
  return { all, matrices, leftOut };
}

/**
 * Counts each matrix for its decomposition, for its measurement and for what is written of it, as
 * far as there is any of these.
 */
class JobProgress {
  readonly #progress: Progress;

  constructor(parts: readonly (readonly Layer[])[], { onProgress }: CompressOptions) {
    const sizes = parts.flat().map(({ info }) => info.bytes);
    this.#progress = new Progress(sizes, onProgress);
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

function requireMatrices(
  { path }: Checkpoint,
  matrices: readonly Matrix[],
  all: readonly Matrix[],
  [first]: readonly LeftOut[],
): void {
  if (matrices.length > 0) return;
  const why = all.length > 0 ? ', since the calibration has no moments of any' : '';
  throw new LowRankError('ERR_UNSUPPORTED', `${path}: no linear layer can be compressed${why}`, {
    hint: first && `${first.name}: ${first.why}.`,
  });
}

/** Layers that no moments of their inputs weigh. */
function withoutMoments(all: readonly Matrix[], forms: Forms): string[] {
  const known = (matrix: Matrix) => (matrix.codes ? forms.isWeighted(matrix) : forms.factors.has(matrix));
  return all.filter((matrix) => matrix.use === 'linear' && !known(matrix)).map(({ name }) => name);
}

async function vectorsPerInput(matrices: readonly Matrix[], source: LayerFactors): Promise<number | undefined> {
  let least: number | undefined;
  for (const matrix of matrices) {
    const count = await source.vectors(matrix);
    if (count !== undefined) least = Math.min(least ?? Number.POSITIVE_INFINITY, count / matrix.n);
  }
  return least;
}
