import { breakEvenRank } from '../lowrank/rank.js';
import type { Changed, Forms } from './forms.js';
import type { Matrix } from './matrices.js';
import type { Way } from './menu.js';
import { plainly } from './stored.js';
import type { Trials } from './trials.js';

/** The power of what the outputs lose by a matrix that its loss counts for. */
const POWERS = {
  relative: 0,
  'probed^0.25': 0.25,
  'probed^0.5': 0.5,
  'probed^0.75': 0.75,
  probed: 1,
} as const;

/**
 * What a matrix' loss counts for: the same in all (`relative`); what the model's outputs lose by it
 * (`probed`), or a power of that; or its share of all numbers where it is stored in about 4 bits
 * (`even`), since relative losses of different layers mean different things. None is always best: a
 * probe is a linear measure, so it misleads where much is cut.
 */
export type Weighting = 'even' | keyof typeof POWERS;

/** A matrix and the ways to store it. */
export interface Offered {
  readonly matrix: Matrix;
  readonly ways: readonly Way[];
  /** The loss of the model's outputs for each relative loss of the matrix, if probed. */
  readonly sensitivity: number | undefined;
}

/** What becomes of the matrices, in their order. */
export interface Chosen {
  readonly ways: readonly Way[];
  readonly weighting: Weighting;
  /** The loss of the model's outputs by each weighting; none without a probe. */
  readonly losses: Partial<Record<Weighting, number>>;
  /** What all layers take by their kernels, if that was limited. */
  readonly latency?: LayerLatency;
}

/** The milliseconds that all layers take to multiply so many tokens at once. */
export interface LayerLatency {
  readonly tokens: number;
  readonly before: number;
  readonly after: number;
}

/**
 * Takes a way for each matrix, so that the weighted sum of losses is small within some budget.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` where even the smallest do not fit.
 */
export type Fit = (weightOf: (one: Offered) => number) => Promise<readonly Way[]>;

/**
 * Measures what the model's outputs lose when a matrix loses some, for each relative loss of its
 * own outputs.
 */
export async function sensitivityOf(
  matrix: Matrix,
  ways: readonly Way[],
  forms: Forms,
  { probe, measurements }: Trials,
): Promise<number> {
  const usual = usualWay(matrix, ways);
  if (usual === undefined) return 0;
  const stored = usual.stored as Changed;
  const what = {
    model: probe.digest,
    name: matrix.info.name,
    weight: await forms.factors.keyOf(matrix),
    stored: plainly(stored),
  };
  const loss = await measurements.of(what, async () => probe.loss(await forms.tried(matrix, stored)));
  return loss / usual.loss;
}

/**
 * Chooses how every matrix is stored, by each weighting of their losses; and keeps the choices with
 * which the outputs of the model lose least.
 */
export async function choose(
  offered: readonly Offered[],
  within: Fit,
  forms: Forms,
  trials: Trials | undefined,
): Promise<Chosen> {
  const coded = offered.some(({ matrix }) => matrix.codes);
  const weightings = [...(coded ? (['even'] as const) : []), ...(Object.keys(POWERS) as (keyof typeof POWERS)[])];
  const by = (weighting: Weighting) => within((one) => weightOf(one, weighting));
  if (trials === undefined) {
    const [weighting] = weightings as [Weighting, ...Weighting[]];
    return { ways: await by(weighting), weighting, losses: {} };
  }
  const losses: Partial<Record<Weighting, number>> = {};
  let best: Chosen | undefined;
  // Several weightings may choose the same.
  const known = new Map<string, number>();
  for (const weighting of weightings) {
    const ways = await by(weighting);
    const key = JSON.stringify(ways.map(({ stored }) => plainly(stored)));
    const loss = known.get(key) ?? (await lossOf(offered, ways, forms, trials));
    known.set(key, loss);
    losses[weighting] = loss;
    if (best === undefined || loss < losses[best.weighting]!) best = { ways, weighting, losses };
  }
  return best!;
}

function weightOf({ matrix, ways, sensitivity = 1 }: Offered, weighting: Weighting): number {
  if (weighting !== 'even') return sensitivity ** POWERS[weighting];
  const usual = usualWay(matrix, ways);
  return usual === undefined ? 1 : (matrix.m * matrix.n) / usual.loss;
}

/**
 * A way that loses some, but not much: far above the errors of float32, but still where the outputs
 * change in proportion. 4 bits, where they are offered; else factors of half the numbers.
 */
function usualWay({ m, n }: Matrix, ways: readonly Way[]): Way | undefined {
  const lossy = ways.filter(({ loss }) => loss > 0);
  const blocks = lossy.filter(({ stored }) => stored.kind === 'blocks').sort((a, b) => a.bytes - b.bytes);
  const rounded = blocks.find(({ stored }) => stored.kind === 'blocks' && stored.format.bits >= 4) ?? blocks.at(-1);
  const half = breakEvenRank(m, n) / 2;
  return rounded ?? lossy.findLast(({ stored }) => stored.kind === 'factors' && stored.rank <= half) ?? lossy[0];
}

/** What the outputs of the model lose with matrices stored in these ways. */
async function lossOf(
  offered: readonly Offered[],
  ways: readonly Way[],
  forms: Forms,
  { probe }: Trials,
): Promise<number> {
  const tensors = new Map<string, Float32Array>();
  for (const [i, { matrix }] of offered.entries()) {
    const { stored } = ways[i]!;
    if (stored.kind === 'dense') continue;
    for (const [name, numbers] of await forms.tried(matrix, stored)) tensors.set(name, numbers);
  }
  return probe.heldBackLoss(tensors);
}
