import { ArgumentError } from '../../errors.js';
import { band, bottom, random } from './components.js';
import type { Kind } from './kind.js';
import { pruning } from './pruning.js';
import { rankReduction } from './rank-reduction.js';
import { zero } from './zero.js';

/** What can be done to a matrix. A new kind is a file of this folder and a row here. */
const KINDS = [rankReduction, pruning, zero, bottom, band, random] as const satisfies readonly Kind[];

/**
 * - `rank-reduction`: the best approximation of rank k, k = floor(rho min(m, n))
 * - `dropout`: the share 1 - rho of the numbers that are smallest in absolute value becomes 0
 * - `zero`: all numbers become 0
 * - `bottom`: the k = floor(rho min(m, n)) singular components of the smallest singular values stay, and no other
 * - `band`: the components from one share of min(m, n) up to another stay
 * - `random`: k components stay that chance chooses, for each matrix anew: what a choice by size has to be compared with
 *
 * @useDeclaredType
 */
export type InterventionKind = (typeof KINDS)[number]['kind'];

export const KIND_NAMES: readonly InterventionKind[] = KINDS.map(({ kind }) => kind);

/** What is meant where no kind is said. */
export const DEFAULT_KIND: InterventionKind = 'rank-reduction';

/** What there is to know of a kind. */
export function kindOf(name: InterventionKind): Kind {
  return KINDS.find(({ kind }) => kind === asKind(name))!;
}

/** @throws {@link ArgumentError} when `name` is none of {@link KIND_NAMES}. */
export function asKind(name: string): InterventionKind {
  const found = KIND_NAMES.find((kind) => kind === name);
  if (found === undefined) throw new ArgumentError('intervention', `one of ${KIND_NAMES.join(', ')}`, name);
  return found;
}
