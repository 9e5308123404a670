import type { Checkpoint, TensorChange } from '../checkpoint/checkpoint.js';
import { weightBytes } from '../compress/budget.js';
import type { Tried } from '../compress/trials.js';
import { LowRankError } from '../errors.js';
import type { Progress } from '../progress.js';
import type { Tensor } from '../tensor/tensor.js';
import { formatBytes } from '../text/format.js';
import { formatsFor, type Smoothing, type Stored, storedBytes } from './choices.js';
import { type ChosenStorage, chooseStorage, type Offered, sensitivityOf } from './choose.js';
import type { QuantizedMatrix } from './matrix.js';
import type { MatrixSource } from './matrix-source.js';
import { menuOf } from './menu.js';
import type { Preset, QuantizeCheckpointOptions } from './options.js';
import { smoothingOf } from './smoothing.js';
import { changeOf } from './stored-tensors.js';

/** The changes of the tensors of a quantised model. */
export function changesOf(
  matrices: readonly QuantizedMatrix[],
  stored: readonly Stored[],
  { accuracyLevel = 4 }: QuantizeCheckpointOptions,
): Map<string, TensorChange> {
  return new Map(
    matrices.flatMap((matrix, i) => {
      const change = changeOf(matrix, stored[i]!, { accuracyLevel });
      return change === undefined ? [] : [[matrix.info.name, change] as const];
    }),
  );
}

/** Decides how each matrix is stored: by the preset, or within the budget. */
export async function decide(
  checkpoint: Checkpoint,
  matrices: readonly QuantizedMatrix[],
  options: QuantizeCheckpointOptions,
  source: MatrixSource,
  trials: Tried | undefined,
  progress: Progress,
): Promise<ChosenStorage> {
  const { preset, bits, calibration, corrections = calibration !== undefined, signal } = options;
  const offered: Offered[] = [];
  const smoothings = preset === 'q8' ? await smoothingsFor(checkpoint, matrices, source) : new Map<string, Smoothing>();
  for (const matrix of matrices) {
    const { name, info } = matrix;
    signal?.throwIfAborted();
    progress.working(name, info.bytes, 0);
    if (preset === undefined) {
      const menu = await menuOf(matrix, source, { formats: formatsFor(matrix), corrections });
      const sensitivity = trials && (await sensitivityOf(matrix, menu, source, trials.probe));
      offered.push({ matrix, menu, sensitivity });
    } else {
      const stored = presetFor(matrix, preset, smoothings.get(info.name));
      const { dense } = await source.rounded(matrix, stored);
      const choice = { stored, size: storedBytes(matrix, stored), loss: await source.loss(matrix, dense) };
      offered.push({ matrix, menu: [choice], sensitivity: undefined });
    }
    progress.finished(name, info.bytes);
  }
  if (preset !== undefined) {
    return { choices: offered.map(({ menu }) => menu[0]!), weighting: 'even', losses: {} };
  }
  const numbers = matrices.reduce((sum, { m, n }) => sum + m * n, 0);
  const budget =
    bits === undefined ? await bytesWithin(checkpoint, offered, options) : Math.floor((bits * numbers) / 8);
  const chosen = await chooseStorage(offered, budget, source, trials?.probe);
  if (chosen !== undefined) return chosen;
  const least = offered.reduce((sum, { menu }) => sum + menu[0]!.size, 0);
  throw new LowRankError(
    'ERR_UNSUPPORTED',
    `${checkpoint.path}: its matrices cannot be stored in ${formatBytes(budget)}: the least is ${formatBytes(least)}`,
    { hint: `Allow at least ${((8 * least) / numbers).toFixed(2)} bits a weight.` },
  );
}

/** What smooths the inputs of layers, by their weights: layers with the same inputs share it. */
async function smoothingsFor(
  { graph }: Checkpoint,
  matrices: readonly QuantizedMatrix[],
  source: MatrixSource,
): Promise<Map<string, Smoothing>> {
  const groups = new Map<string, QuantizedMatrix[]>();
  for (const matrix of matrices) {
    const [value, ...others] = matrix.use === 'linear' ? (graph?.inputsOf(matrix.info.name) ?? []) : [];
    if (value !== undefined && others.length === 0) groups.set(value, [...(groups.get(value) ?? []), matrix]);
  }
  const smoothings = new Map<string, Smoothing>();
  for (const group of groups.values()) {
    const [owner] = group as [QuantizedMatrix, ...QuantizedMatrix[]];
    const moments = await source.moments(owner);
    if (moments === undefined) continue;
    const weights: Tensor[] = [];
    for (const matrix of group) weights.push(await source.weight(matrix));
    const scales = smoothingOf(weights, moments);
    if (scales !== undefined) for (const { info } of group) smoothings.set(info.name, { owner, scales });
  }
  return smoothings;
}

function presetFor(
  matrix: QuantizedMatrix,
  preset: Preset,
  smoothing: Smoothing | undefined,
): Exclude<Stored, { kind: 'dense' }> {
  if (preset === 'q8' && matrix.use === 'linear') return { kind: 'channels', ...(smoothing && { smoothing }) };
  // With 8 bits, small blocks gain nothing.
  const [bits, block] = preset === 'q8' ? ([8, 128] as const) : ([4, 32] as const);
  const formats = formatsFor(matrix, [bits]);
  // Where no such block divides the columns, another does: matrices without any are left out.
  const format = formats.find((each) => each.block === block) ?? formats[0]!;
  return { kind: 'blocks', format, rank: 0 };
}

/** Lengths of messages that grow with the tensors in them. */
const LENGTHS = 64;

/**
 * Returns how many bytes the tensors of the matrices may take in files of `size` bytes, which are
 * never larger then.
 */
async function bytesWithin(
  checkpoint: Checkpoint,
  offered: readonly Offered[],
  options: QuantizeCheckpointOptions,
): Promise<number> {
  // Corrections have the most nodes and names.
  const elaborate = offered.map(({ menu }) => {
    const rankOf = ({ stored }: (typeof menu)[number]) => (stored.kind === 'blocks' ? stored.rank : -1);
    return menu.reduce((most, choice) => (rankOf(choice) > rankOf(most) ? choice : most));
  });
  const matrices = offered.map(({ matrix }) => matrix);
  const changes = changesOf(
    matrices,
    elaborate.map(({ stored }) => stored),
    options,
  );
  const tensors = elaborate.reduce((sum, { size }) => sum + size, 0);
  const rest = (await weightBytes(checkpoint, changes)) - tensors + LENGTHS * offered.length;
  return Math.max(0, Math.floor(options.size! - rest));
}
