import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import type { Runtime } from '../evaluate/engines/onnx-feeds.js';
import { importPeer } from '../evaluate/engines/peers.js';
import { type Chosen, choose, type Fit, type Offered, sensitivityOf } from './choose.js';
import { denseWays, extremes, timeOf, withinBytes, withinFiles, withinNumbers, withinTime } from './fits.js';
import type { Forms } from './forms.js';
import { KernelCosts } from './kernel-costs.js';
import type { Matrix } from './matrices.js';
import type { Measurements } from './measurements.js';
import { menuOf, type Way } from './menu.js';
import type { CompressOptions, Preset } from './options.js';
import { presetFor } from './preset.js';
import { smoothingsFor, withOwners } from './smoothings.js';
import { isCoded, storedSize } from './stored.js';
import type { Trials } from './trials.js';
import { smallestWithin } from './within-divergence.js';

/** What a decision is made from. */
export interface Deciding {
  readonly checkpoint: Checkpoint;
  readonly matrices: readonly Matrix[];
  readonly forms: Forms;
  readonly measurements: Measurements;
  readonly trials: Trials | undefined;
  readonly started: (matrix: Matrix) => void;
  readonly finished: (matrix: Matrix) => void;
}

/** Decides how each matrix is stored: by the preset, or within the budget. */
export async function decide(deciding: Deciding, options: CompressOptions): Promise<Chosen> {
  const { preset, storage = 'pivoted', calibration, corrections = calibration !== undefined, signal } = options;
  if (preset !== undefined) return byPreset(deciding, preset, options);
  const { checkpoint, matrices, forms, measurements, trials, started, finished } = deciding;
  const smoothings = await smoothingsFor(checkpoint, matrices, forms);
  const offered: Offered[] = [];
  for (const matrix of matrices) {
    signal?.throwIfAborted();
    started(matrix);
    const ways = await menuOf(matrix, forms, measurements, {
      storage,
      corrections,
      smoothing: smoothings.get(matrix.info.name),
    });
    const sensitivity = trials && (await sensitivityOf(matrix, ways, forms, trials));
    offered.push({ matrix, ways, sensitivity });
    finished(matrix);
  }
  const chosen = await withinBudget(deciding, offered, options);
  const stored = withOwners(
    matrices,
    chosen.ways.map((way) => way.stored),
  );
  const ways = chosen.ways.map((way, i): Way => {
    return { ...way, stored: stored[i]!, bytes: storedSize(matrices[i]!, stored[i]!) };
  });
  return { ...chosen, ways };
}

async function byPreset(
  { checkpoint, matrices, forms, started, finished }: Deciding,
  preset: Preset,
  { dryRun, signal }: CompressOptions,
): Promise<Chosen> {
  const all = await presetFor(checkpoint, matrices, preset, forms);
  const ways: Way[] = [];
  for (const [i, matrix] of matrices.entries()) {
    const stored = all[i]!;
    let loss = 0;
    // What is written is measured then.
    if (dryRun) {
      signal?.throwIfAborted();
      started(matrix);
      if (isCoded(stored)) loss = await forms.lossOf(matrix, stored);
      finished(matrix);
    }
    ways.push({ stored, bytes: storedSize(matrix, stored), loss });
  }
  return { ways, weighting: 'even', losses: {} };
}

async function withinBudget(
  { checkpoint, forms, trials }: Deciding,
  offered: readonly Offered[],
  options: CompressOptions,
): Promise<Chosen> {
  const { keep, size, bits, latency, maxKl, accuracyLevel } = options;
  const by = (fit: Fit) => choose(offered, fit, forms, trials);
  const numbers = offered.reduce((sum, { matrix: { m, n } }) => sum + m * n, 0);
  const bytesWithin = (bytes: number) => by(withinBytes(checkpoint.path, offered, bytes));
  if (keep !== undefined) return by(withinNumbers(offered, keep * numbers));
  if (size !== undefined) return by(withinFiles(checkpoint, offered, size, accuracyLevel));
  if (bits !== undefined) return bytesWithin(Math.floor((bits * numbers) / 8));
  if (latency !== undefined) return withinLatency(checkpoint.path, offered, latency, options, by);
  if (!trials?.probe.hasLogits) {
    throw new LowRankError('ERR_UNSUPPORTED', `${checkpoint.path}: has no logits, whose divergence maxKl could limit`, {
      hint: 'Use keep, size or bits (--keep, --size, --bits).',
    });
  }
  const [least, most] = extremes(offered);
  const smallest = await smallestWithin(maxKl!, [least, most], async (budget) => {
    const result = await bytesWithin(budget);
    return { result, divergence: result.losses[result.weighting]! };
  });
  return smallest ?? bytesWithin(most);
}

/** The tokens of a short text. */
const TOKENS = 128;

async function withinLatency(
  path: string,
  offered: readonly Offered[],
  share: number,
  { tokens = TOKENS, threads, accuracyLevel, signal, peers }: CompressOptions,
  by: (fit: Fit) => Promise<Chosen>,
): Promise<Chosen> {
  const runtime = await importPeer<Runtime>('onnxruntime-node', peers);
  return KernelCosts.open(runtime, { tokens, threads, accuracyLevel, signal }, async (kernels) => {
    const costs = new Map<Way, number>();
    for (const { matrix, ways } of offered) {
      for (const way of ways) costs.set(way, await kernels.of(matrix, way.stored));
    }
    const chosen = await by(withinTime(path, offered, share, costs));
    const [before, after] = [timeOf(denseWays(offered), costs), timeOf(chosen.ways, costs)];
    return { ...chosen, latency: { tokens, before, after } };
  });
}
