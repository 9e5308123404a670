import type { Fail } from './fields.js';

/** Names of delimiters, for messages. */
const NAMES: Readonly<Record<string, string>> = { ',': 'a comma', '\t': 'a tab', ';': 'a semicolon' };

/**
 * Reads CSV according to RFC 4180: quoted fields may contain delimiters, line breaks and doubled
 * quotes. A byte order mark is skipped, and a lone line feed ends a line as well as CR LF. A last
 * line without a line break is a row; an empty line is not. Where tabs separate fields, a quote
 * inside a field stands for itself, since most programs that write TSV quote nothing.
 *
 * @param fail throws the error for a fault. Lines count from 1.
 * @internal
 */
export function parseCsv(text: string, fail: Fail, delimiter = ','): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let line = 1;
  let at = text.charCodeAt(0) === 0xfeff ? 1 : 0;

  const endRow = () => {
    if (row.length > 1 || row[0] !== '') rows.push(row);
    row = [];
  };
  while (at < text.length) {
    if (text[at] === '"') {
      const opened = line;
      let field = '';
      for (;;) {
        const quote = text.indexOf('"', at + 1);
        if (quote < 0) fail(`line ${opened}: unterminated quoted field`);
        const part = text.slice(at + 1, quote);
        field += part;
        line += part.split('\n').length - 1;
        at = quote + 1;
        if (text[at] !== '"') break;
        field += '"';
      }
      row.push(field);
      const next = text[at];
      if (next !== undefined && next !== delimiter && next !== '\n' && next !== '\r') {
        fail(`line ${line}: expected ${NAMES[delimiter] ?? delimiter} or the end of the line after a quoted field`);
      }
    } else {
      let end = at;
      while (end < text.length && text[end] !== delimiter && text[end] !== '\n' && text[end] !== '\r') end++;
      const field = text.slice(at, end);
      if (delimiter !== '\t' && field.includes('"')) fail(`line ${line}: a quote within an unquoted field`);
      row.push(field);
      at = end;
    }
    if (text[at] === delimiter) {
      at++;
      // A delimiter at the very end is followed by one more field, which is empty.
      if (at === text.length) row.push('');
      continue;
    }
    if (text[at] === '\r') at++;
    if (text[at] === '\n') at++;
    line++;
    endRow();
  }
  if (row.length > 0) endRow();
  return rows;
}

/** Reads CSV with a header as objects. */
export function parseCsvRecords(text: string, fail: Fail, delimiter = ','): Record<string, string>[] {
  const [header, ...rows] = parseCsv(text, fail, delimiter);
  if (header === undefined) return fail('the file is empty, expected a line of column names');
  return rows.map((row, i) => {
    if (row.length !== header.length) {
      fail(`row ${i + 2}: expected ${header.length} fields as in the header, got ${row.length}`);
    }
    return Object.fromEntries(header.map((name, column) => [name, row[column]!]));
  });
}
