import { printable } from '../../text/printable.js';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
  /**
   * Left out of a table that is too wide, those with smaller numbers first. Others are always
   * shown.
   */
  readonly drop?: number;
}

const GAP = '  ';
const NARROWEST = 12;

/**
 * Formats a table as lines. A table wider than `width` loses the columns that may be dropped, and a
 * last line names them. If that is not enough, its first column is shortened in the middle; if
 * that is not enough either, each row becomes a block of lines, one `title value` per line.
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
  const cells = rows.map((row) => row.map(printable));
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const shown = columns.map((_, i) => i);
  const dropped: string[] = [];
  const total = () => shown.reduce((sum, i) => sum + widths[i]!, 0) + GAP.length * (shown.length - 1);
  while (width !== undefined && total() > width) {
    const next = leastNeeded(columns, shown);
    if (next === undefined) break;
    shown.splice(shown.indexOf(next), 1);
    dropped.push(columns[next]!.title);
  }
  const left = shown.map((i) => columns[i]!);
  const picked = cells.map((row) => shown.map((i) => row[i] ?? ''));
  const note = width === undefined || dropped.length === 0 ? [] : wrapped(`(no room: ${dropped.join(', ')})`, width);
  if (width !== undefined && total() > width) {
    const first = widths[shown[0]!]! - (total() - width);
    if (first < NARROWEST) return { lines: blocks(columns, cells, width, emphasise), dropped: [] };
    widths[shown[0]!] = first;
  }
  const line = (row: readonly string[]) =>
    left
      .map(({ align }, i) => {
        const room = widths[shown[i]!]!;
        const text = shorten(row[i]!, room);
        return align === 'right' ? text.padStart(room) : text.padEnd(room);
      })
      .join(GAP)
      .trimEnd();
  return { lines: [emphasise(line(left.map(({ title }) => title))), ...picked.map(line), ...note], dropped };
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
