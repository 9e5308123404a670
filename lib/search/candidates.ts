import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { type PlanOptions, planEdits } from '../edit/plan.js';
import { ArgumentError, describe } from '../errors.js';
import type { GridAmounts } from '../interventions/amount.js';
import { type Edit, nameOf } from '../interventions/edit.js';
import { DEFAULT_KIND, type InterventionKind, KIND_NAMES, kindOf } from '../interventions/kinds/kinds.js';
import { type Intervention, parseAt } from '../interventions/spec.js';
import { type LayerRange, type Layers, layerNumbers } from '../model/layers.js';
import { Model } from '../model/model.js';
import { GROUPS, type GroupType, MATRIX_TYPES, type MatrixType, TARGET_TYPES } from '../model/types.js';
import { either, listOf, number, type OptionType, type OptionTypes, oneOf } from '../options.js';
import type { Candidate } from './log-lines.js';

/** The interventions to try. */
export interface GridOptions {
  /**
   * By default the later ones: two fifths of all, but at least twelve, or all if there are fewer.
   * Numbers below 0 count from the last layer, -1.
   */
  readonly layers?: Layers;
  /** By default the matrices of the MLP, where LASER gains most. */
  readonly types?: readonly (MatrixType | GroupType)[];
  /** The shares to keep; by default those of LASER's experiments. */
  readonly rhos?: readonly number[];
  /** `rank-reduction` by default; the others are the paper's ablations. */
  readonly kinds?: readonly InterventionKind[];
  /** For the kind `band`: shares at which bands start and end; five equal bands by default. */
  readonly bands?: readonly (readonly [from: number, to: number])[];
}

const BAND: OptionType<readonly [from: number, to: number]> = {
  expected: 'two shares [from, to]',
  is: (value): value is [number, number] => Array.isArray(value) && value.length === 2 && value.every(number.is),
};
const LAYER: OptionType<number | LayerRange> = {
  expected: 'a layer, or a range [first, last]',
  is: (value): value is number | LayerRange => [value].flat().every(number.is) && [value].flat().length <= 2,
};
export const GRID_OPTIONS: OptionTypes<GridOptions> = {
  layers: either(oneOf<'all'>(['all']), listOf(LAYER)),
  types: listOf(oneOf(TARGET_TYPES)),
  rhos: listOf(number),
  kinds: listOf(oneOf(KIND_NAMES)),
  bands: listOf(BAND),
};

/**
 * LASER's rates 9.95, 9.9, 9.5, 9, 8, 6, 4, 2, 1 as shares to keep: the largest reduction first.
 */
const RHOS = [0.005, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9];
const BANDS = [
  [0, 0.2],
  [0.2, 0.4],
  [0.4, 0.6],
  [0.6, 0.8],
  [0.8, 1],
] as const;
const FEWEST_LAYERS = 12;
const LATE_SHARE = 0.4;

/** A candidate, and its edits. */
export interface PlannedCandidate {
  readonly candidate: Candidate;
  readonly edits: readonly Edit[];
}

/**
 * Plans the candidates of a grid: layers from late to early, in each the types, in each the kinds
 * and shares, the smallest first. A candidate is left out if it keeps all of a matrix, or if both
 * shares give the same rank, so that it does the same as an earlier one.
 *
 * @throws as `planEdits`; {@link ArgumentError} for an empty or impossible grid.
 */
export function planGrid(
  checkpoint: Checkpoint,
  options: GridOptions & Pick<PlanOptions, 'family' | 'quant' | 'shared'>,
) {
  const { family, quant, shared } = options;
  const model = new Model(checkpoint, family);
  const layers = layersOf(model, options.layers);
  const types = options.types ?? mlpTypes(model);
  const { kinds = [DEFAULT_KIND], rhos = RHOS, bands = BANDS } = options;
  for (const [name, list] of Object.entries({ layers, types, kinds, rhos, bands })) {
    if (list.length === 0) throw new ArgumentError(name, 'at least one', list);
  }
  const planned: PlannedCandidate[] = [];
  const seen = new Set<string>();
  for (const layer of [...layers].sort((a, b) => b - a)) {
    for (const type of types) {
      for (const candidate of kinds.flatMap((kind) => ofKind(kind, layer, type, { rhos, bands }))) {
        const { edits } = planEdits(checkpoint, { interventions: [interventionOf(candidate)], family, quant, shared });
        const effect = effectOf(candidate, edits);
        if (edits.every(({ identity }) => identity) || seen.has(effect)) continue;
        seen.add(effect);
        planned.push({ candidate, edits });
      }
    }
  }
  if (planned.length === 0) {
    throw new ArgumentError('rhos', 'shares that change at least one matrix', rhos.length > 0 ? rhos : bands);
  }
  return { family: model.family.name, planned };
}

/** Returns the intervention of a candidate. */
export function interventionOf({ kind, spec }: Pick<Candidate, 'kind' | 'spec'>): Intervention {
  return parseAt(spec, kind);
}

function layersOf(model: Model, wanted: GridOptions['layers']): readonly number[] {
  const all = Array.from({ length: model.layers }, (_, i) => i);
  if (wanted === 'all') return all;
  if (wanted !== undefined) return layerNumbers(wanted, model.layers);
  return all.slice(-Math.max(FEWEST_LAYERS, Math.ceil(LATE_SHARE * model.layers)));
}

function mlpTypes(model: Model): MatrixType[] {
  const mlp = GROUPS.mlp.filter((type) => model.types.includes(type));
  return mlp.length > 0 ? [...mlp] : MATRIX_TYPES.filter((type) => model.types.includes(type));
}

function ofKind(
  kind: InterventionKind,
  layer: number,
  type: MatrixType | GroupType,
  amounts: GridAmounts,
): Candidate[] {
  const at = `${layer}:${type}`;
  const { amount } = kindOf(kind);
  return amount.grid(amounts).map(({ rho, text }) => {
    return { kind, layer, type, rho, spec: text === undefined ? at : `${at}:${text}` };
  });
}

/**
 * Returns a key that is equal for candidates with the same effect. The seed of random choices is
 * the same for all, so their count decides.
 */
function effectOf({ kind }: Candidate, edits: readonly Edit[]): string {
  return describeAll(
    edits.map(({ tensor, slice, shape, rank, threshold, intervention: { amount } }) => {
      const matrix = nameOf({ tensor, slice });
      const first = kindOf(kind).keeps?.(amount, Math.min(...shape.slice(-2)), { matrix })[0];
      return [kind, matrix, rank, threshold, first];
    }),
  );
}

function describeAll(value: unknown): string {
  return JSON.stringify(value) ?? describe(value);
}
