import { type Content, element, type Html } from './html.js';

export interface Column<Row> {
  readonly title: Content;
  /**
   * The content of the cells: words on one line, text, names that may break anywhere, or numbers.
   */
  readonly holds?: 'words' | 'text' | 'names' | 'numbers';
  readonly cell: (row: Row) => Content;
}

/**
 * Renders a table whose first column names its rows. It scrolls by itself if it is wider than the
 * page.
 */
export function table<Row>(caption: string, columns: readonly Column<Row>[], rows: readonly Row[]): Html {
  const kind = (column: Column<Row>) => column.holds ?? 'words';
  const head = columns.map((column) => element('th', { scope: 'col', class: kind(column) }, column.title));
  const body = rows.map((row) =>
    element(
      'tr',
      {},
      columns.map((column, i) =>
        i === 0
          ? element('th', { scope: 'row', class: kind(column) }, column.cell(row))
          : element('td', { class: kind(column) }, column.cell(row)),
      ),
    ),
  );
  return scrolling(
    caption,
    element(
      'table',
      {},
      element('caption', {}, element('span', {}, caption)),
      element('thead', {}, element('tr', {}, head)),
      element('tbody', {}, body),
    ),
  );
}

/** Wraps wide content so that it can also be scrolled with the keyboard. */
export function scrolling(label: string, content: Html): Html {
  return element('div', { class: 'scroll', role: 'region', 'aria-label': label, tabindex: 0 }, content);
}

/** Renders names and their values; leaves out undefined ones. */
export function facts(caption: string, pairs: readonly (readonly [name: string, fact: Content])[]): Html {
  return table<(typeof pairs)[number]>(
    caption,
    [
      { title: 'what', holds: 'text', cell: ([name]) => name },
      { title: 'value', holds: 'names', cell: ([, fact]) => fact },
    ],
    pairs.filter(([, fact]) => fact !== undefined),
  );
}
