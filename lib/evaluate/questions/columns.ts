import { answer, at, choice, type Draft, type Fail, type Row } from './fields.js';
import { fillTemplate } from './template.js';

/** How the columns of a table, or the fields of JSON objects, make questions. */
export interface ColumnOptions {
  /** The column with the prompt; needed unless `template` words it. */
  readonly promptColumn?: string;
  /**
   * The column with the answer. Among choices it may have the right one's words, its label or
   * column name, its index from 0, or its letter. Without answers and choices, prompts are texts
   * whose own likelihood is measured.
   */
  readonly answerColumn?: string;
  /**
   * The column with a list of choices: an array, its JSON, `a;b;c` or `a|b|c`, or an object of
   * `text` and `label`. Several columns have one choice each.
   */
  readonly choicesColumn?: string | readonly string[];
  /** The choices of all questions; `targets` for all answers that the file has. */
  readonly choices?: 'targets' | readonly string[];
  /** The prompt with `{column}` in place of a column's content, such as `Q: {question}\nA:`. */
  readonly template?: string;
}

/** Questions with more choices than this are no choice any more, but a name to generate. */
const MOST_TARGETS = 100;

/** Choices, and other names by which an answer may mean them. */
interface NamedChoices {
  readonly choices: readonly string[];
  readonly names?: readonly string[];
}

/** Reads a table by the columns that are named. */
export function table(rows: readonly Row[], options: ColumnOptions, fail: Fail): Draft[] {
  const { promptColumn, answerColumn, choicesColumn, choices, template } = options;
  if (promptColumn === undefined && template === undefined) {
    fail(`which column has the prompt is not said (columns: ${Object.keys(rows[0] ?? {}).join(', ')})`);
  }
  const hasChoices = choicesColumn !== undefined || (choices !== undefined && choices !== 'targets');
  if (answerColumn === undefined && (hasChoices || choices === 'targets')) {
    fail('has choices, but which column has the right one is not said');
  }
  const drafts = rows.map((row, i): Draft => {
    const failHere = at(fail, i);
    const prompt =
      template === undefined
        ? textIn(row, promptColumn!, failHere)
        : fillTemplate(template, (name) => textIn(row, name, failHere));
    if (answerColumn === undefined) return { kind: 'text', prompt };
    const own: NamedChoices | undefined =
      choicesColumn === undefined
        ? hasChoices
          ? { choices: choices as readonly string[] }
          : undefined
        : typeof choicesColumn === 'string'
          ? choicesIn(row, choicesColumn, failHere)
          : { choices: choicesColumn.map((name) => textIn(row, name, failHere).trim()), names: choicesColumn };
    if (own === undefined) return answer(prompt, onlyAnswer(row, answerColumn, failHere), failHere);
    if (own.choices.length < 2) return failHere('expected at least 2 choices');
    return choice(prompt, own.choices, labelOf(textIn(row, answerColumn, failHere).trim(), own, failHere));
  });
  return choices === 'targets' && !hasChoices ? amongTargets(drafts, fail) : drafts;
}

/** Makes every answer of the set a choice of each question. */
export function amongTargets(drafts: readonly Draft[], fail: Fail): Draft[] {
  const targets = [...new Set(drafts.flatMap(({ answer: said }) => said ?? []))].sort();
  if (targets.length < 2) fail('has fewer than 2 different answers, so they are no choices');
  if (targets.length > MOST_TARGETS) {
    fail(`has ${targets.length} different answers, and at most ${MOST_TARGETS} can be choices`);
  }
  return among(drafts, targets, fail);
}

/** Gives all questions the same choices. */
export function among(drafts: readonly Draft[], choices: readonly string[], fail: Fail): Draft[] {
  return drafts.map((draft, i) => {
    const { prompt, answer: said } = draft;
    if (said === undefined) return at(fail, i)('has no answer, so it cannot have choices');
    return choice(prompt, choices, labelOf(said, { choices }, at(fail, i)));
  });
}

/** Finds the choice that an answer means. */
function labelOf(said: string, { choices, names }: NamedChoices, fail: Fail): number {
  const lower = said.toLowerCase();
  const found = [
    choices.indexOf(said),
    names?.indexOf(said) ?? -1,
    choices.findIndex((text) => text.toLowerCase() === lower),
    /^\d+$/.test(said) ? Number(said) : -1,
    /^[A-Z]$/.test(said) ? said.charCodeAt(0) - 65 : -1,
  ].find((label) => label >= 0 && label < choices.length);
  return found ?? fail(`the answer ${JSON.stringify(said)} is none of the choices: ${choices.join(', ')}`);
}

/** Reads a list of choices from one column. */
export function choicesIn(row: Row, column: string, fail: Fail): NamedChoices {
  const value = row[column];
  const parsed = typeof value === 'string' ? listIn(value) : value;
  if (Array.isArray(parsed) && parsed.every(isPlain)) return { choices: parsed.map((item) => String(item).trim()) };
  const { text, label } = (parsed ?? {}) as { text?: unknown; label?: unknown };
  if (Array.isArray(text) && Array.isArray(label) && text.every(isPlain) && label.every(isPlain)) {
    return { choices: text.map((item) => String(item).trim()), names: label.map(String) };
  }
  return fail(`expected a list of choices in ${JSON.stringify(column)}`);
}

function listIn(text: string): unknown {
  if (/^\s*[[{]/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      return undefined;
    }
  }
  return text.split(text.includes(';') ? ';' : '|');
}

function isPlain(value: unknown): value is string | number | boolean {
  return ['string', 'number', 'boolean'].includes(typeof value);
}

/** Returns a column's content as text. */
function textIn(row: Row, column: string, fail: Fail): string {
  const value = row[column];
  if (isPlain(value)) return String(value);
  if (column in row) return fail(`expected a text or a number in the column ${JSON.stringify(column)}`);
  return fail(`has no column ${JSON.stringify(column)} (columns: ${Object.keys(row).join(', ')})`);
}

/** Returns an answer, or the only one of a list. */
function onlyAnswer(row: Row, column: string, fail: Fail): string {
  const value = row[column];
  if (!Array.isArray(value)) return textIn(row, column, fail).trim();
  const [only, ...others] = value;
  if (isPlain(only) && others.length === 0) return String(only).trim();
  return fail(`expected one answer in the column ${JSON.stringify(column)}, got ${value.length}`);
}
