import { ArgumentError } from '../../errors.js';
import { band, bottom, random } from './components.js';
import type { Kind } from './kind.js';
import { pruning } from './pruning.js';
import { rankReduction } from './rank-reduction.js';
import { zero } from './zero.js';

/** All kinds of interventions. To add one, write a file in this folder and add it here. */
const KINDS = [rankReduction, pruning, zero, bottom, band, random] as const satisfies readonly Kind[];

/**
 * - `rank-reduction`: the best approximation of rank k, k = floor(rho min(m, n))
 * - `dropout`: sets the share 1 - rho of the numbers with the smallest absolute values to 0
 * - `zero`: sets all numbers to 0
 * - `bottom`: keeps only the k = floor(rho min(m, n)) components with the smallest singular values
 * - `band`: keeps the components from one share of min(m, n) up to another
 * - `random`: keeps k random components, drawn anew for each matrix, as a control for choices by
 *   size
 *
 * @useDeclaredType
 */
export type InterventionKind = (typeof KINDS)[number]['kind'];

export const KIND_NAMES: readonly InterventionKind[] = KINDS.map(({ kind }) => kind);

/** The kind if none is given. */
export const DEFAULT_KIND: InterventionKind = 'rank-reduction';

/** Returns the description of a kind. */
export function kindOf(name: InterventionKind): Kind {
  return KINDS.find(({ kind }) => kind === asKind(name))!;
}

/**
 * Returns a kind by its name.
 *
 * @throws {@link ArgumentError} if `name` is none of {@link KIND_NAMES}.
 */
export function asKind(name: string): InterventionKind {
  const found = KIND_NAMES.find((kind) => kind === name);
  if (found === undefined) throw new ArgumentError('intervention', `one of ${KIND_NAMES.join(', ')}`, name);
  return found;
}
