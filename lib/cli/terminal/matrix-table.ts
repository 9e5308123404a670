import { printable } from '../../text/printable.js';
import { type Column, layOut, shorten } from './table.js';
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
 * Prints a table of matrices. Where whole names have no room, layer and type tell the rows apart,
 * with what remains of the names once their common beginning and end are left out.
 */
export function printMatrices(columns: readonly Column[], rows: readonly MatrixRow[], output: Output): void {
  if (rows.length === 0) return;
  const { columns: width, colors } = output;
  const print = (head: readonly Column[], front: (row: MatrixRow, i: number) => readonly string[]) =>
    layOut(
      [...head, ...columns],
      rows.map((row, i) => [...front(row, i), ...row.cells]),
      width,
      colors.bold,
    );
  // A column that is dropped first shows whether the whole table has room.
  const marked = layOut(
    [{ title: 'tensor', drop: 0 }, ...columns],
    rows.map(({ name, cells }) => [name, ...cells]),
    width,
  );
  if (marked.dropped.length === 0) {
    output.lines(print([{ title: 'tensor' }], ({ name }) => [name]).lines);
    return;
  }
  const { names, left } = distinct(rows.map(({ name }) => name));
  const places = rows.map(({ layer, types = [] }) => [String(layer ?? ''), typesInWords(types)] as const);
  const placed = places.every(([layer, type]) => layer !== '' && type !== '');
  const head: readonly Column[] = placed ? [{ title: 'layer', align: 'right' }, { title: 'type' }] : [];
  const front = (i: number) => (placed ? places[i]! : []);
  // Experts of one layer have the same type, so only their names differ.
  const enough = placed && new Set(places.map(String)).size === rows.length;
  const { lines, dropped } = enough
    ? print([...head, { title: 'tensor', drop: 0 }], (_, i) => [...front(i), names[i]!])
    : print([{ title: 'tensor' }, ...head], (_, i) => [names[i]!, ...front(i)]);
  const above = left === undefined || dropped.includes('tensor') ? [] : [shorten(printable(left), width!)];
  output.lines([...above, ...lines]);
}

/** Writes types in few letters: `q,k,v_proj` for the three of a fused tensor. */
export function typesInWords(types: readonly string[]): string {
  const projections = types.filter((type) => /^[a-z]_proj$/.test(type));
  if (projections.length < 2) return types.join(',');
  const letters = projections.map((type) => type[0]).join(',');
  return [`${letters}_proj`, ...types.filter((type) => !projections.includes(type))].join(',');
}

/**
 * Leaves out the words with which all names begin and end.
 *
 * @returns `left` describes what was left out, if anything was.
 */
export function distinct(names: readonly string[]): { names: readonly string[]; left: string | undefined } {
  const words = names.map((name) => name.split(/(?<=[./])|(?=[./])/));
  const shortest = Math.min(...words.map(({ length }) => length));
  const alike = (at: (list: readonly string[]) => string | undefined) =>
    words.every((list) => at(list) === at(words[0]!));
  let [before, after] = [0, 0];
  while (before < shortest - 1 && alike((list) => list[before])) before++;
  while (after < shortest - 1 - before && alike((list) => list.at(-1 - after))) after++;
  if (names.length < 2 || before + after === 0) return { names, left: undefined };
  const [start, end] = [words[0]!.slice(0, before).join(''), words[0]!.slice(words[0]!.length - after).join('')];
  const rest = words.map((list) => list.slice(before, list.length - after).join(''));
  return { names: rest, left: `tensors: ${start}<name>${end}` };
}
