import { formatCount } from '../text/format.js';
import { number } from './numbers.js';
import type { Column } from './table.js';

/**
 * Returns a column for weights that several places of a model use; none if there are no such
 * weights.
 */
export function usesColumn<Row>(rows: readonly Row[], usesOf: (row: Row) => number | null | undefined): Column<Row>[] {
  if (rows.every((row) => typeof usesOf(row) !== 'number')) return [];
  return [{ title: 'uses', holds: 'numbers', cell: (row) => number(usesOf(row) ?? undefined, formatCount) }];
}
