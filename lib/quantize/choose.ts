import { POWERS, type Weighting } from '../compress/choose.js';
import { chooseWithin } from '../compress/menus.js';
import type { Probe } from '../compress/probe.js';
import type { QuantizedMatrix } from './matrix.js';
import { inFile, type MatrixSource } from './matrix-source.js';
import type { StoredChoice } from './menu.js';

/** A matrix and the ways to store it. */
export interface Offered {
  readonly matrix: QuantizedMatrix;
  readonly menu: readonly StoredChoice[];
  /** The loss of the model's outputs for each relative loss of the matrix, if probed. */
  readonly sensitivity: number | undefined;
}

/** What becomes of the matrices, in their order. */
export interface ChosenStorage {
  readonly choices: readonly StoredChoice[];
  readonly weighting: Weighting;
  /** The loss of the model's outputs by each weighting; none without a probe. */
  readonly losses: Partial<Record<Weighting, number>>;
}

/** Measures what the model's outputs lose when a matrix is rounded to few bits, for each relative loss of its own outputs. */
export async function sensitivityOf(
  matrix: QuantizedMatrix,
  menu: readonly StoredChoice[],
  source: MatrixSource,
  probe: Probe,
): Promise<number> {
  const rounded = menu.filter(({ stored, loss }) => stored.kind === 'blocks' && loss > 0);
  // Far above the errors of float32, but still where the outputs change in proportion.
  const tried = rounded.find(({ stored }) => stored.kind === 'blocks' && stored.format.bits >= 4) ?? rounded.at(-1);
  if (tried === undefined || tried.stored.kind === 'dense') return 0;
  const { dense } = await source.rounded(matrix, tried.stored, 1);
  const loss = await probe.loss(new Map([[matrix.info.name, inFile(matrix, dense)]]));
  return loss / (await source.loss(matrix, dense));
}

/**
 * Chooses for every matrix how it is stored, within a budget of bytes, by each weighting of their losses; and keeps the
 * choices with which the outputs of the model lose least.
 *
 * @returns undefined where even the smallest choices do not fit
 */
export async function chooseStorage(
  offered: readonly Offered[],
  budget: number,
  source: MatrixSource,
  probe: Probe | undefined,
): Promise<ChosenStorage | undefined> {
  const by = (power: number) =>
    chooseWithin(
      offered.map(({ menu, sensitivity = 1 }) =>
        menu.map((choice) => ({ ...choice, loss: sensitivity ** power * choice.loss, choice })),
      ),
      budget,
    )?.map(({ choice }) => choice);
  const relative = by(POWERS.relative);
  if (relative === undefined || probe === undefined) {
    return relative && { choices: relative, weighting: 'relative', losses: {} };
  }
  const losses: Partial<Record<Weighting, number>> = {};
  let best: ChosenStorage | undefined;
  // Several weightings may choose the same.
  const known = new Map<string, number>();
  for (const weighting of Object.keys(POWERS) as Weighting[]) {
    const choices = by(POWERS[weighting])!;
    const key = JSON.stringify(choices.map(({ stored }) => stored));
    const loss = known.get(key) ?? (await lossOf(offered, choices, source, probe));
    known.set(key, loss);
    losses[weighting] = loss;
    if (best === undefined || losses[weighting]! < losses[best.weighting]!) best = { choices, weighting, losses };
  }
  return best!;
}

/** What the outputs of the model lose with matrices stored in this way. */
async function lossOf(
  offered: readonly Offered[],
  choices: readonly StoredChoice[],
  source: MatrixSource,
  probe: Probe,
): Promise<number> {
  const weights = new Map<string, Float32Array>();
  for (const [i, { matrix }] of offered.entries()) {
    const { stored } = choices[i]!;
    if (stored.kind === 'dense') continue;
    const { dense } = await source.rounded(matrix, stored, 1);
    weights.set(matrix.info.name, inFile(matrix, dense));
  }
  return probe.heldBackLoss(weights);
}
