import { extname } from 'node:path';
import { parseCsvRecords } from './csv.js';
import { at, type Fail, isRow, parseJson, type Row } from './fields.js';
import { isParquet, readParquet } from './parquet.js';

/**
 * The content of a question file, whatever stores its rows: an array or lines of JSON, CSV, TSV or
 * Parquet. Readers of questions ask for the part that they need.
 */
export interface QuestionFile {
  /** `text` also for a file that may be anything. */
  readonly container: 'json' | 'csv' | 'parquet' | 'text';
  /** The whole text without a byte order mark; empty for Parquet. */
  readonly text: string;
  /** Rows of a table, of an array or lines of JSON, or the `examples` of a document. */
  readonly rows: readonly Row[];
  /** A JSON document that is one object; undefined for arrays and for lines. */
  readonly document: Row | undefined;
}

/**
 * Opens the content of a file.
 *
 * @param name of the file, for its ending
 * @param asTable whether the text is a table, even if its ending does not tell
 * @param peers where to look for packages
 */
export async function questionFile(
  bytes: Uint8Array,
  name: string,
  fail: Fail,
  { asTable = false, peers }: { readonly asTable?: boolean; readonly peers?: string | undefined } = {},
): Promise<QuestionFile> {
  if (isParquet(bytes)) {
    return { container: 'parquet', text: '', rows: await readParquet(bytes, fail, peers), document: undefined };
  }
  const text = textOf(bytes, fail);
  const isTable = /^\.(csv|tsv|tab)$/i.test(extname(name));
  if (!isTable && /^\s*[[{]/.test(text)) return new JsonFile(text, fail);
  if (isTable || asTable || KNOWN_HEADERS.test(text)) return new TableFile(text, extname(name), fail);
  return { container: 'text', text, rows: [], document: undefined };
}

/** The first columns of tables that are known by any name. */
const KNOWN_HEADERS = /^(Type,Category,Question,Best Answer|statement[,\t]label)/;

function textOf(bytes: Uint8Array, fail: Fail): string {
  try {
    // Removes a byte order mark.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return fail('is not valid UTF-8');
  }
}

class JsonFile implements QuestionFile {
  readonly container = 'json';
  readonly rows: readonly Row[];
  readonly document: Row | undefined;

  constructor(
    readonly text: string,
    fail: Fail,
  ) {
    if (text.trimStart().startsWith('[')) {
      const value = parseJson(text, fail);
      if (!Array.isArray(value)) fail('expected an array of objects');
      this.rows = rowsOf(value as unknown[], fail);
      return;
    }
    const whole = tryParse(text);
    if (!isRow(whole)) {
      this.rows = linesOfJson(text, fail);
      return;
    }
    this.document = whole;
    // An object with a list of examples is a task; any other is a file with one line.
    this.rows = Array.isArray(whole.examples) ? rowsOf(whole.examples, fail) : [whole];
  }
}

function rowsOf(values: readonly unknown[], fail: Fail): Row[] {
  return values.map((row, i) => (isRow(row) ? row : at(fail, i)('expected an object')));
}

/** Parses a document of one object; returns undefined for lines. */
function tryParse(text: string): unknown {
  const first = /^\s*[^\r\n]+/.exec(text)![0];
  const isAlone = text.slice(first.length).trim() === '';
  // A first line that is complete starts a file of lines, which need not be parsed at once.
  if (!isAlone && isComplete(first)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isComplete(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

function linesOfJson(text: string, fail: Fail): Row[] {
  return text.split(/\r?\n/).flatMap((line, i) => {
    if (line.trim() === '') return [];
    const failHere: Fail = (message) => fail(`line ${i + 1}: ${message}`);
    const row = parseJson(line, failHere);
    return [isRow(row) ? row : failHere('expected an object')];
  });
}

/** A table in text. It is parsed when its rows are asked for. */
class TableFile implements QuestionFile {
  readonly container = 'csv';
  readonly document = undefined;
  readonly #ending: string;
  readonly #fail: Fail;
  #rows: readonly Row[] | undefined;

  constructor(
    readonly text: string,
    ending: string,
    fail: Fail,
  ) {
    this.#ending = ending;
    this.#fail = fail;
  }

  get rows(): readonly Row[] {
    this.#rows ??= parseCsvRecords(this.text, this.#fail, this.#delimiter());
    return this.#rows;
  }

  /** Returns what separates the columns: a tab by the file's name, else what the header has. */
  #delimiter(): string {
    if (/^\.(tsv|tab)$/i.test(this.#ending)) return '\t';
    const header = /^[^\r\n]*/.exec(this.text)![0];
    return [',', '\t', ';'].find((delimiter) => header.includes(delimiter)) ?? ',';
  }
}
