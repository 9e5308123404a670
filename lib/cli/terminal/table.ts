import { printable } from '../../text/printable.js';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /**
   * Left out of a table that is too wide, those with smaller numbers first. Others are always
   * shown.
   */
  readonly drop?: number;
  /** Holds names, which are without their common beginning and end in a table that is too wide. */
  readonly names?: boolean;
}

const GAP = '  ';
const NARROWEST = 12;

/**
 * Formats a table as lines. In a table wider than `width`, names lose what all of them begin and
 * end with, which a first line states; then the columns go that may be dropped, which a last line
 * names. If that is not enough, its first column is shortened in the middle; if that is not enough
 * either, each row becomes a block of lines, one `title value` per line.
 *
 * @param width in characters; undefined for no limit
 * @param emphasise applied to the titles
 */
export function formatTable(...table: Parameters<typeof layOut>): string[] {
  return layOut(...table).lines;
}

/** Does what {@link formatTable} does, and returns the titles of the columns that were dropped. */
export function layOut(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number | undefined,
  emphasise: (text: string) => string = (text) => text,
): { readonly lines: string[]; readonly dropped: readonly string[] } {
  const whole = rows.map((row) => row.map(printable));
  const widthsOf = (cells: readonly (readonly string[])[]) =>
    columns.map(({ title }, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  let widths = widthsOf(whole);
  const shown = columns.map((_, i) => i);
  const total = () => shown.reduce((sum, i) => sum + widths[i]!, 0) + GAP.length * (shown.length - 1);
  const tooWide = () => width !== undefined && total() > width;

  let cells = whole;
  const named = tooWide() ? columns.findIndex(({ names }) => names) : -1;
  const { names, common } = distinct(whole.map((row) => row[named] ?? ''));
  if (common !== undefined) {
    cells = whole.map((row, i) => row.with(named, names[i]!));
    widths = widthsOf(cells);
  }
  const dropped: string[] = [];
  while (tooWide()) {
    const next = leastNeeded(columns, shown);
    if (next === undefined) break;
    shown.splice(shown.indexOf(next), 1);
    dropped.push(columns[next]!.title);
  }
  if (tooWide()) {
    const first = widths[shown[0]!]! - (total() - width!);
    if (first < NARROWEST) return { lines: blocks(columns, whole, width!, emphasise), dropped: [] };
    widths[shown[0]!] = first;
  }
  const line = (row: readonly string[]) =>
    shown
      .map((i) => {
        const text = shorten(row[i] ?? '', widths[i]!);
        return columns[i]!.align === 'right' ? text.padStart(widths[i]!) : text.padEnd(widths[i]!);
      })
      .join(GAP)
      .trimEnd();
  const above = common !== undefined && shown.includes(named) ? [shorten(`names: ${common}`, width!)] : [];
  const below = dropped.length === 0 ? [] : wrapped(`(no room: ${dropped.join(', ')})`, width!);
  return {
    lines: [...above, emphasise(line(columns.map(({ title }) => title))), ...cells.map(line), ...below],
    dropped,
  };
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const line = `${lines.at(-1) ?? ''} ${word}`.trimStart();
    if (lines.length > 0 && line.length <= width) lines[lines.length - 1] = line;
    else lines.push(shorten(word, width));
  }
  return lines;
}

/**
 * Leaves out the words with which all names begin and end.
 *
 * @returns `common` shows them around what differs; undefined if there are none.
 */
function distinct(names: readonly string[]): { names: readonly string[]; common: string | undefined } {
  if (names.length < 2) return { names, common: undefined };
  const words = names.map((name) => name.split(/(?<=[./])|(?=[./])/));
  const shortest = Math.min(...words.map(({ length }) => length));
  const alike = (at: (list: readonly string[]) => string | undefined) =>
    words.every((list) => at(list) === at(words[0]!));
  let [before, after] = [0, 0];
  while (before < shortest - 1 && alike((list) => list[before])) before++;
  while (after < shortest - 1 - before && alike((list) => list.at(-1 - after))) after++;
  if (before + after === 0) return { names, common: undefined };
  const [first] = words as [string[]];
  const [start, end] = [first.slice(0, before).join(''), first.slice(first.length - after).join('')];
  const rest = words.map((list) => list.slice(before, list.length - after).join(''));
  return { names: rest, common: `${start}<name>${end}` };
}

function leastNeeded(columns: readonly Column[], shown: readonly number[]): number | undefined {
  const droppable = shown.filter((i) => columns[i]!.drop !== undefined);
  return droppable.sort((a, b) => columns[a]!.drop! - columns[b]!.drop!)[0];
}

/** Removes characters from the middle, where tensor names differ least. */
export function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  if (width <= 3) return text.slice(0, Math.max(width, 0));
  const kept = width - 3;
  const tail = Math.ceil(kept / 2);
  return `${text.slice(0, kept - tail)}...${text.slice(text.length - tail)}`;
}

function blocks(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
  emphasise: (text: string) => string,
): string[] {
  return rows.flatMap(([first = '', ...rest]) => [
    emphasise(shorten(first, width)),
    ...rest.map((cell, i) => shorten(`${GAP}${columns[i + 1]!.title} ${cell}`, width)),
  ]);
}
