import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import { type Chosen, choose, type Fit, type Offered, sensitivityOf } from './choose.js';
import { extremes, withinBytes, withinFiles, withinNumbers } from './fits.js';
import type { Forms } from './forms.js';
import type { Matrix } from './matrices.js';
import type { Measurements } from './measurements.js';
import { menuOf, type Way } from './menu.js';
import type { CompressOptions, Preset } from './options.js';
import { presetFor } from './preset.js';
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
  const { matrices, forms, measurements, trials, started, finished } = deciding;
  const offered: Offered[] = [];
  for (const matrix of matrices) {
    signal?.throwIfAborted();
    started(matrix);
    const ways = await menuOf(matrix, forms, measurements, { storage, corrections });
    const sensitivity = trials && (await sensitivityOf(matrix, ways, forms, trials));
    offered.push({ matrix, ways, sensitivity });
    finished(matrix);
  }
  return withinBudget(deciding, offered, options);
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
    signal?.throwIfAborted();
    started(matrix);
    // What is written is measured then.
    const loss = dryRun && isCoded(stored) ? await forms.lossOf(matrix, stored) : 0;
    ways.push({ stored, bytes: storedSize(matrix, stored), loss });
    finished(matrix);
  }
  return { ways, weighting: 'even', losses: {} };
}

async function withinBudget(
  { checkpoint, forms, trials }: Deciding,
  offered: readonly Offered[],
  { keep, size, bits, maxKl, accuracyLevel }: CompressOptions,
): Promise<Chosen> {
  const by = (fit: Fit) => choose(offered, fit, forms, trials);
  const numbers = offered.reduce((sum, { matrix: { m, n } }) => sum + m * n, 0);
  const bytesWithin = (bytes: number) => by(withinBytes(checkpoint.path, offered, bytes));
  if (keep !== undefined) return by(withinNumbers(offered, keep * numbers));
  if (size !== undefined) return by(withinFiles(checkpoint, offered, size, accuracyLevel));
  if (bits !== undefined) return bytesWithin(Math.floor((bits * numbers) / 8));
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
