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

/**
 * What the relative losses of matrices count for: `even` takes all for equally sensitive to the
 * same bits a weight, since relative losses of different layers mean different things; the others
 * are those of `compress`, measured by a probe.
 */
export type QuantizedWeighting = 'even' | Weighting;

/** What becomes of the matrices, in their order. */
export interface ChosenStorage {
  readonly choices: readonly StoredChoice[];
  readonly weighting: QuantizedWeighting;
  /** The loss of the model's outputs by each weighting; none without a probe. */
  readonly losses: Partial<Record<QuantizedWeighting, number>>;
}

/**
 * Measures what the model's outputs lose when a matrix is rounded to few bits, for each relative
 * loss of its own outputs.
 */
export async function sensitivityOf(
  matrix: QuantizedMatrix,
  menu: readonly StoredChoice[],
  source: MatrixSource,
  probe: Probe,
): Promise<number> {
  // Far above the errors of float32, but still where the outputs change in proportion.
  const tried = usualChoice(menu);
  if (tried === undefined || tried.stored.kind === 'dense') return 0;
  const { dense } = await source.rounded(matrix, tried.stored, 1);
  const loss = await probe.loss(new Map([[matrix.info.name, inFile(matrix, dense)]]));
  return loss / (await source.loss(matrix, dense));
}

/**
 * Chooses for every matrix how it is stored, within a budget of bytes, by each weighting of their
 * losses; and keeps the choices with which the outputs of the model lose least.
 *
 * @returns undefined where even the smallest choices do not fit
 */
export async function chooseStorage(
  offered: readonly Offered[],
  budget: number,
  source: MatrixSource,
  probe: Probe | undefined,
): Promise<ChosenStorage | undefined> {
  const by = (weightOf: (one: Offered) => number) =>
    chooseWithin(
      offered.map((one) => one.menu.map((choice) => ({ ...choice, loss: weightOf(one) * choice.loss, choice }))),
      budget,
    )?.map(({ choice }) => choice);
  const even = by(evenWeight);
  if (even === undefined || probe === undefined) {
    return even && { choices: even, weighting: 'even', losses: {} };
  }
  const losses: Partial<Record<QuantizedWeighting, number>> = {};
  let best: ChosenStorage | undefined;
  // Several weightings may choose the same.
  const known = new Map<string, number>();
  for (const weighting of ['even', ...(Object.keys(POWERS) as Weighting[])] as const) {
    const choices = weighting === 'even' ? even : by(({ sensitivity = 1 }) => sensitivity ** POWERS[weighting])!;
    const key = JSON.stringify(choices.map(({ stored }) => stored));
    const loss = known.get(key) ?? (await lossOf(offered, choices, source, probe));
    known.set(key, loss);
    losses[weighting] = loss;
    if (best === undefined || loss < losses[best.weighting]!) best = { choices, weighting, losses };
  }
  return best!;
}

/** Makes the loss of each matrix its share of all numbers where it is stored in about 4 bits. */
function evenWeight({ matrix: { m, n }, menu }: Offered): number {
  const usual = usualChoice(menu);
  return usual === undefined ? 1 : (m * n) / usual.loss;
}

/** What loses about as much as 4 bits do. */
function usualChoice(menu: readonly StoredChoice[]): StoredChoice | undefined {
  const rounded = menu.filter(({ stored, loss }) => stored.kind === 'blocks' && loss > 0);
  return rounded.find(({ stored }) => stored.kind === 'blocks' && stored.format.bits >= 4) ?? rounded.at(-1);
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
