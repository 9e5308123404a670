import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { mainOfCopy } from '../checkpoint/copy/layouts.js';
import { requireOutput } from '../checkpoint/copy/output.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import { open } from '../checkpoint/open.js';
import { weightBytes } from '../compress/budget.js';
import { type MomentsFile, openMoments } from '../compress/moments.js';
import type { OutputChange } from '../compress/output-change.js';
import type { LeftOut } from '../compress/select.js';
import { withTried } from '../compress/trials.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { absolutePath } from '../files/files.js';
import { Progress } from '../progress.js';
import { describeStored, plainly, type StoredAs } from './choices.js';
import type { ChosenStorage, QuantizedWeighting } from './choose.js';
import { changesOf, decide } from './decide.js';
import type { QuantizedMatrix } from './matrix.js';
import { MatrixSource } from './matrix-source.js';
import { checkedOptions, type Preset, type QuantizeCheckpointOptions } from './options.js';
import { quantizableMatrices } from './select.js';

/** A matrix of the result. */
export interface QuantizedLayer {
  readonly name: string;
  readonly use: QuantizedMatrix['use'];
  /** [outputs, inputs]; rows and columns of one that is looked up. */
  readonly shape: readonly [m: number, n: number];
  readonly stored: StoredAs;
  /** In words, such as `4 bits/32 + rank 16`. */
  readonly description: string;
  readonly bytes: number;
  /**
   * The relative error, a root: of the layer's outputs on the vectors of calibration, without them
   * of the weight. Predicted by a dry run; measured on what is written.
   */
  readonly error: number;
}

export interface QuantizeReport {
  readonly source: string;
  readonly preset: Preset | undefined;
  readonly calibrated: boolean;
  /** What the losses of matrices were weighed by. */
  readonly weighting: QuantizedWeighting;
  /**
   * The loss of the model's outputs by each weighting, where texts or inputs were there to try them
   * on.
   */
  readonly losses: ChosenStorage['losses'];
  readonly layers: readonly QuantizedLayer[];
  /** Matrices that stay as they are, and why. */
  readonly leftOut: readonly LeftOut[];
  /**
   * Linear layers that were rounded without moments of their inputs, although there is a
   * calibration.
   */
  readonly withoutMoments: readonly string[];
  /** Bits a weight of the matrices, with scales and corrections, before and after. */
  readonly bits: { readonly before: number; readonly after: number };
  /** The bytes of all weight files, before and after. */
  readonly bytes: { readonly before: number; readonly after: number };
  /**
   * How far the written model's outputs are from the original's. Undefined for a dry run, and
   * without texts or inputs.
   */
  readonly check: OutputChange | undefined;
  /** Undefined for a dry run. */
  readonly output: OutputSummary | undefined;
  readonly seconds: number;
}

/**
 * Stores the matrices of a model in few bits: rounds each by the moments of its inputs; corrects
 * errors by low-rank factors; chooses the bits, the blocks and the ranks of all together within one
 * budget; writes the model; and compares it with the original before it appears.
 *
 * @param source an ONNX file, or a folder with one; not modified
 * @param out must not exist
 * @throws ArgumentError; LowRankError `ERR_UNSUPPORTED` where no matrix can be quantised, and where
 *   the budget is too
 * small; `ERR_ENGINE` where a model does not run; as `openCheckpoint`, `openMoments`, and
 * `editCheckpoint` for `out`.
 */
export async function quantizeCheckpoint(
  source: string,
  out: string | undefined,
  options: QuantizeCheckpointOptions,
): Promise<QuantizeReport> {
  const given = checkedOptions(options);
  const { calibration, dryRun = false } = given;
  if (out === undefined && !dryRun) throw new ArgumentError('out', 'a path', out);
  const moments = calibration === undefined ? undefined : await openMoments(absolutePath(calibration));
  try {
    const checkpoint = await open(source);
    try {
      const target = dryRun ? undefined : out;
      if (target !== undefined) await requireOutput(checkpoint, target);
      return await quantize(checkpoint, target, given, moments);
    } finally {
      await checkpoint.close();
    }
  } finally {
    await moments?.close();
  }
}

async function quantize(
  checkpoint: Checkpoint,
  out: string | undefined,
  options: QuantizeCheckpointOptions,
  file: MomentsFile | undefined,
): Promise<QuantizeReport> {
  const { preset, bits, signal, threads } = options;
  requireOnnx(checkpoint);
  const source = new MatrixSource(checkpoint, file, { signal, threads });
  const embeddings = options.embeddings ?? bits === undefined;
  const { matrices, leftOut } = quantizableMatrices(checkpoint, { heads: options.heads ?? false, embeddings });
  requireMatrices(checkpoint, matrices, leftOut);
  const tensors = matrices.map(({ info }) => info);
  const sizes = tensors.map(({ bytes }) => bytes);
  const progress = new Progress(out === undefined ? sizes : [...sizes, ...sizes], options.onProgress);
  const withoutMoments: string[] = [];
  if (file !== undefined) {
    for (const matrix of matrices) {
      if (matrix.use === 'linear' && (await source.moments(matrix)) === undefined) withoutMoments.push(matrix.name);
    }
  }
  return withTried(checkpoint, tensors, options, async (trials) => {
    const { choices, weighting, losses } = await decide(checkpoint, matrices, options, source, trials, progress);
    const changes = changesOf(
      matrices,
      choices.map(({ stored }) => stored),
      options,
    );
    const numbers = matrices.reduce((sum, { m, n }) => sum + m * n, 0);
    const bitsOf = (bytes: number) => (8 * bytes) / numbers;
    const report = {
      source: checkpoint.path,
      preset,
      calibrated: file !== undefined,
      weighting,
      losses,
      leftOut,
      withoutMoments,
      bits: {
        before: bitsOf(sizes.reduce((sum, bytes) => sum + bytes, 0)),
        after: bitsOf(choices.reduce((sum, { size }) => sum + size, 0)),
      },
      bytes: { before: await weightBytes(checkpoint), after: await weightBytes(checkpoint, changes) },
    };
    const described = matrices.map(({ name, use, m, n }, i): QuantizedLayer => {
      const { stored, size, loss } = choices[i]!;
      return {
        name,
        use,
        shape: [m, n],
        stored: plainly(stored),
        description: describeStored(stored),
        bytes: size,
        error: Math.sqrt(loss),
      };
    });
    if (out === undefined) {
      return { ...report, layers: described, check: undefined, output: undefined, seconds: progress.seconds };
    }
    const { result, output } = await withCopy(
      checkpoint,
      out,
      { ...(signal && { signal }), changes, onCommit: () => progress.phase('commit') },
      async (copy) => {
        const layers: QuantizedLayer[] = [];
        for (const [i, matrix] of matrices.entries()) {
          const { stored } = choices[i]!;
          signal?.throwIfAborted();
          progress.working(matrix.name, matrix.info.bytes, 0);
          let { error } = described[i]!;
          if (stored.kind !== 'dense') {
            const { tensors, dense } = await source.rounded(matrix, stored);
            for (const [tensor, bytes] of tensors) await copy.write(tensor, bytes);
            error = Math.sqrt(await source.loss(matrix, dense));
          }
          layers.push({ ...described[i]!, error });
          progress.finished(matrix.name, matrix.info.bytes);
        }
        const path = await copy.written();
        const main = checkpoint.path === checkpoint.main ? path : mainOfCopy(checkpoint, path);
        return { layers, check: await trials?.check(main) };
      },
    );
    return { ...report, ...result, output, seconds: progress.seconds };
  });
}

function requireOnnx({ path, format }: Checkpoint): void {
  if (format === 'onnx') return;
  throw new LowRankError('ERR_UNSUPPORTED', `${path}: ${format} files cannot be quantised here`, {
    hint: 'Export the model to ONNX.',
  });
}

function requireMatrices(
  { path }: Checkpoint,
  matrices: readonly QuantizedMatrix[],
  [first]: readonly LeftOut[],
): void {
  if (matrices.length > 0) return;
  throw new LowRankError('ERR_UNSUPPORTED', `${path}: no matrix can be quantised`, {
    hint: first && `${first.name}: ${first.why}.`,
  });
}
