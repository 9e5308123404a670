import { breakEvenRank } from '../lowrank/rank.js';
import { type Allocation, allocate, type Candidate, lossCurve, type Storage } from './allocate.js';
import type { LayerFactors } from './layer-factors.js';
import type { Measurements } from './measurements.js';
import type { Probe } from './probe.js';
import type { Layer } from './select.js';

/** The power of what the outputs lose by a layer that its loss counts for. */
export const POWERS = {
  relative: 0,
  'probed^0.25': 0.25,
  'probed^0.5': 0.5,
  'probed^0.75': 0.75,
  probed: 1,
} as const;

/**
 * What a layer's loss counts for: the same in all (`relative`), what the model's outputs lose by it
 * (`probed`), or a power of that. None is always best: a probe is a linear measure, so it misleads
 * where much is cut.
 */
export type Weighting = keyof typeof POWERS;

export interface Chosen {
  readonly allocation: Allocation;
  readonly weighting: Weighting;
  /** The loss of the model's outputs with the ranks of each weighting; none without a probe. */
  readonly losses: Partial<Record<Weighting, number>>;
}

/** A layer with its spectrum and what the probe has measured. */
export interface MeasuredLayer {
  readonly layer: Layer;
  readonly singularValues: Float32Array;
  /** The loss of the model's outputs for each relative loss of the layer, if probed. */
  readonly sensitivity: number | undefined;
}

/**
 * Decomposes a layer, and measures what the model loses when it is cut to half of its break-even
 * rank.
 */
export async function measured(
  layer: Layer,
  source: LayerFactors,
  trials: { readonly probe: Probe; readonly measurements: Measurements } | undefined,
): Promise<MeasuredLayer> {
  const { m, n } = layer;
  const factors = await source.factors(layer, Math.min(m, n));
  const singularValues = factors.singularValues.data;
  if (trials === undefined) return { layer, singularValues, sensitivity: undefined };
  const rank = Math.max(1, Math.floor(breakEvenRank(m, n) / 2));
  const relative = lossCurve(singularValues)[rank]!;
  if (!(relative > 0)) return { layer, singularValues, sensitivity: 0 };
  const { probe, measurements } = trials;
  const what = { model: probe.digest, name: layer.info.name, decomposition: await source.keyOf(layer), rank };
  const loss = await measurements.of(what, async () =>
    probe.loss(await source.multipliedOut(layer, factors.truncate(rank))),
  );
  return { layer, singularValues, sensitivity: loss / relative };
}

/**
 * Chooses ranks by each weighting, and keeps those with which the outputs of the model lose least.
 */
export async function chooseRanks(
  layers: readonly MeasuredLayer[],
  options: { readonly budget: number; readonly storage: Storage },
  source: LayerFactors,
  probe: Probe | undefined,
): Promise<Chosen> {
  const by = (power: number) =>
    allocate(
      layers.map(({ layer: { name, m, n }, singularValues, sensitivity = 1 }): Candidate => {
        return { name, m, n, singularValues, weight: sensitivity ** power };
      }),
      options,
    );
  if (probe === undefined) return { allocation: by(POWERS.relative), weighting: 'relative', losses: {} };
  const losses: Partial<Record<Weighting, number>> = {};
  let best: Chosen | undefined;
  for (const weighting of Object.keys(POWERS) as Weighting[]) {
    const allocation = by(POWERS[weighting]);
    const tensors = new Map<string, Float32Array>();
    for (const [i, { layer }] of layers.entries()) {
      const { rank } = allocation.matrices[i]!;
      if (rank === undefined) continue;
      const changes = await source.multipliedOut(layer, await source.factors(layer, rank));
      for (const [name, numbers] of changes) tensors.set(name, numbers);
    }
    const loss = await probe.heldBackLoss(tensors);
    losses[weighting] = loss;
    if (best === undefined || loss < losses[best.weighting]!) best = { allocation, weighting, losses };
  }
  return best!;
}
