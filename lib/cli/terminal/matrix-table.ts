import { type Column, layOut } from './table.js';
import type { Output } from './terminal.js';

/** What tells a matrix from the others of a table. */
export interface MatrixRow {
  /** The whole name, with its slice if it is a part of a tensor. */
  readonly name: string;
  readonly layer?: number | undefined;
  /** The types, if the layer is known. */
  readonly types?: readonly string[] | undefined;
  /** The cells of the other columns. */
  readonly cells: readonly string[];
}

/**
 * Prints a table of matrices. Where whole names have no room, layer and type tell the rows apart.
 */
export function printMatrices(columns: readonly Column[], rows: readonly MatrixRow[], output: Output): void {
  if (rows.length === 0) return;
  const { columns: width, colors } = output;
  const tensor: Column = { title: 'tensor', names: true };
  const print = (head: readonly Column[], front: (row: MatrixRow) => readonly string[]) =>
    layOut(
      [...head, ...columns],
      rows.map((row) => [...front(row), ...row.cells]),
      width,
      colors.bold,
    );
  // A column that is dropped first shows whether the whole table has room.
  const whole = print([{ title: 'tensor', drop: 0 }], ({ name }) => [name]);
  if (whole.dropped.length === 0) {
    output.lines(whole.lines);
    return;
  }
  const placeOf = ({ layer, types = [] }: MatrixRow) => [String(layer ?? ''), typesInWords(types)];
  const placed = rows.map(placeOf).every(([layer, type]) => layer !== '' && type !== '');
  if (!placed) {
    output.lines(print([tensor], ({ name }) => [name]).lines);
    return;
  }
  const place: readonly Column[] = [{ title: 'layer', align: 'right' }, { title: 'type' }];
  // Experts of one layer have the same type, so only their names differ.
  const enough = new Set(rows.map((row) => String(placeOf(row)))).size === rows.length;
  const { lines } = enough
    ? print([...place, { ...tensor, drop: 0 }], (row) => [...placeOf(row), row.name])
    : print([tensor, ...place], (row) => [row.name, ...placeOf(row)]);
  output.lines(lines);
}

/** Writes types in few letters: `q,k,v_proj` for the three of a fused tensor. */
export function typesInWords(types: readonly string[]): string {
  const projections = types.filter((type) => /^[a-z]_proj$/.test(type));
  if (projections.length < 2) return types.join(',');
  const letters = projections.map((type) => type[0]).join(',');
  return [`${letters}_proj`, ...types.filter((type) => !projections.includes(type))].join(',');
}
