import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { ArgumentError, describe, LowRankError } from '../../errors.js';
import { requirePath } from '../../files/files.js';
import { callback, checkOptions, either, listOf, number, type OptionTypes, oneOf, text } from '../../options.js';
import { among, amongTargets, type ColumnOptions } from './columns.js';
import type { Draft, Fail } from './fields.js';
import { DATASET_FORMATS, type DatasetFormat, PROMPT_STYLES, type PromptStyle, type QuestionSet } from './question.js';
import { type QuestionFile, questionFile } from './question-file.js';
import { detectFormat, READERS } from './readers.js';
import { fillTemplate, namesIn } from './template.js';

export interface LoadOptions extends ColumnOptions {
  /**
   * The form of the file. It is `table` if columns are named; otherwise it is detected from the
   * content where possible, which it is not for biographies.
   */
  readonly format?: DatasetFormat;
  /** The kind of model for which prompts are worded; `causal` by default. */
  readonly style?: PromptStyle;
  /**
   * Counts the tokens of an answer like Llama's tokenizer, with BOS. LASER leaves out HotpotQA
   * questions whose answer has more than 15; without this function, none is left out.
   */
  readonly countTokens?: (text: string) => number;
  /** The longest piece into which a plain text is cut, in characters; 2,000 by default. */
  readonly pieceLength?: number;
  /**
   * Where to look for hyparquet, which reads Parquet, besides this package; the working directory
   * by default.
   */
  readonly peers?: string;
}

const LOAD_OPTIONS: OptionTypes<LoadOptions> = {
  format: { expected: text.expected, is: (value): value is DatasetFormat => text.is(value) },
  style: oneOf(PROMPT_STYLES),
  countTokens: callback,
  pieceLength: number,
  promptColumn: text,
  answerColumn: text,
  choicesColumn: either(text, listOf(text)),
  choices: either(oneOf<'targets'>(['targets']), listOf(text)),
  template: text,
  peers: text,
};

/** Stands in a template for the prompt that the format itself words. */
const PROMPT = 'prompt';

/**
 * Reads a question set from a local file of JSON, lines of JSON, CSV, TSV or Parquet: BIG-bench and
 * BIG-Bench Hard, TruthfulQA, FEVER, HotpotQA, CounterFact, Bias in Bios, Wikidata questions, true
 * and false statements, samples of lm-evaluation-harness, rows `{ prompt, answer }` or `{ prompt,
 * choices, label }`, plain text; and any table whose columns are named. Prompts and selections are
 * LASER's (Sharma, Ash and Misra 2023).
 *
 * `choices` and `template` also apply to known formats: `{prompt}` is the prompt that the format
 * words.
 *
 * @throws {@link LowRankError} `ERR_DATASET` if the file cannot be read or is invalid, with the
 *   position of the fault; `ERR_PEER` for Parquet without hyparquet; {@link ArgumentError} for
 *   columns of a format that has its own.
 */
export async function loadQuestions(path: string, options?: LoadOptions): Promise<QuestionSet> {
  const given = checkOptions(options, LOAD_OPTIONS, 'loadQuestions');
  const { style = 'causal', countTokens, pieceLength = 2000, peers } = given;
  if (!(Number.isInteger(pieceLength) && pieceLength > 0)) {
    throw new ArgumentError('pieceLength', 'a whole number of at least 1', pieceLength);
  }
  requirePath(path);
  const fail = (message: string, hint?: string, cause?: unknown): never => {
    throw new LowRankError('ERR_DATASET', `${path}: ${message}`, { hint, cause });
  };
  let bytes: Uint8Array;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    return fail(`cannot be read: ${(cause as NodeJS.ErrnoException).code ?? cause}`, 'Check the path.', cause);
  }
  const named = given.format ?? (namesColumns(given) ? 'table' : undefined);
  const file = await questionFile(bytes, basename(path), fail, {
    asTable: named !== undefined && named !== 'text',
    peers,
  });
  const format = named ?? detectFormat(file, basename(path));
  if (format === undefined) return fail(...undetected(file));
  if (!Object.hasOwn(READERS, format)) {
    return fail(`unknown format ${describe(format)}`, `Expected one of ${DATASET_FORMATS.join(', ')}.`);
  }
  checkColumns(given, format);
  const reader = READERS[format];
  const drafts = reader.read(file, { style, countTokens, pieceLength, columns: given }, fail);
  const questions = reworded(drafts, given, format, fail).map((draft, id) => ({ id, ...draft }));
  if (questions.length === 0) fail('contains no question');
  return { path, format, questions, generate: reader.generate };
}

/** Whether the options name columns, so that no known format is meant. */
function namesColumns({ promptColumn, answerColumn, choicesColumn, template = '' }: ColumnOptions): boolean {
  return (
    [promptColumn, answerColumn, choicesColumn].some((column) => column !== undefined) ||
    namesIn(template).some((name) => name !== PROMPT)
  );
}

/** @throws {@link ArgumentError} for columns of a format that has its own. */
function checkColumns(options: ColumnOptions, format: DatasetFormat): void {
  if (format === 'table') return;
  for (const name of ['promptColumn', 'answerColumn', 'choicesColumn'] as const) {
    if (options[name] !== undefined) throw new ArgumentError(name, `no column for the format ${format}`, options[name]);
  }
  const [other] = namesIn(options.template ?? '').filter((name) => name !== PROMPT);
  if (other !== undefined) {
    throw new ArgumentError('template', `no name but {${PROMPT}} for the format ${format}`, options.template);
  }
}

/** Applies the choices and the template to the questions of a known format. */
function reworded(drafts: readonly Draft[], options: ColumnOptions, format: DatasetFormat, fail: Fail) {
  const { choices, template } = options;
  if (format === 'table') return drafts;
  const chosen =
    choices === undefined ? drafts : choices === 'targets' ? amongTargets(drafts, fail) : among(drafts, choices, fail);
  if (template === undefined) return chosen;
  return chosen.map((draft) => ({ ...draft, prompt: fillTemplate(template, () => draft.prompt) }));
}

/** Says why a format is not detected, and what to do. */
function undetected({ rows, document }: QuestionFile): [message: string, hint: string] {
  const columns = Object.keys(document ?? rows[0] ?? {});
  const known = `Specify the format: ${DATASET_FORMATS.join(', ')}`;
  if (columns.length === 0) return ['cannot detect the format of these questions', `${known}.`];
  return [
    `cannot detect the format of these questions (columns: ${columns.join(', ')})`,
    `${known}; or the columns: --prompt-column and --answer-column (promptColumn, answerColumn).`,
  ];
}
