import { printable } from '../../text/printable.js';

export interface Column {
  readonly title: string;
  readonly align?: 'left' | 'right';
}

const GAP = '  ';
const NARROWEST = 12;

/**
 * Formats a table as lines. A table wider than `width` has its first column shortened in the
 * middle; if that is not enough, each row becomes a block of lines, one `title value` per line.
 *
 * @param width in characters; undefined for no limit
 * @param emphasise applied to the titles
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number | undefined,
  emphasise: (text: string) => string = (text) => text,
): string[] {
  const cells = rows.map((row) => row.map(printable));
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const total = widths.reduce((sum, w) => sum + w, 0) + GAP.length * (columns.length - 1);
  if (width !== undefined && total > width) {
    const first = widths[0]! - (total - width);
    if (first < NARROWEST) return blocks(columns, cells, width, emphasise);
    widths[0] = first;
  }
  const line = (row: readonly string[]) =>
    columns
      .map(({ align }, i) => {
        const text = shorten(row[i] ?? '', widths[i]!);
        return align === 'right' ? text.padStart(widths[i]!) : text.padEnd(widths[i]!);
      })
      .join(GAP)
      .trimEnd();
  return [emphasise(line(columns.map(({ title }) => title))), ...cells.map(line)];
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
