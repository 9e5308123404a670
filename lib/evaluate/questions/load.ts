import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { ArgumentError, describe, LowRankError } from '../../errors.js';
import { requirePath } from '../../files/files.js';
import { callback, checkOptions, number, type OptionTypes, oneOf, text } from '../../options.js';
import { DATASET_FORMATS, type DatasetFormat, PROMPT_STYLES, type PromptStyle, type QuestionSet } from './question.js';
import { detectFormat, READERS, type ReadOptions } from './readers.js';

export interface LoadOptions {
  /**
   * The form of the file. It is detected from the content where possible, which it is not for
   * biographies.
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
}

const LOAD_OPTIONS: OptionTypes<LoadOptions> = {
  format: { expected: text.expected, is: (value): value is DatasetFormat => text.is(value) },
  style: oneOf(PROMPT_STYLES),
  countTokens: callback,
  pieceLength: number,
};

/**
 * Reads a question set from a local file: BIG-bench tasks, TruthfulQA, FEVER, HotpotQA,
 * CounterFact, Bias in Bios, Wikidata questions, lines of JSON `{ prompt, answer }` or `{ prompt,
 * choices, label }`, plain text. Prompts and selections are LASER's (Sharma, Ash and Misra 2023).
 *
 * @throws {@link LowRankError} `ERR_DATASET` if the file cannot be read or is invalid, with the
 *   position of the fault.
 */
export async function loadQuestions(path: string, options?: LoadOptions): Promise<QuestionSet> {
  const given = checkOptions(options, LOAD_OPTIONS, 'loadQuestions');
  const { style = 'causal', countTokens, pieceLength = 2000 } = given;
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
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    return fail('is not valid UTF-8', undefined, cause);
  }
  const format = given.format ?? detectFormat(text, basename(path));
  if (format === undefined) {
    return fail('cannot detect the format of these questions', `Specify the format: ${DATASET_FORMATS.join(', ')}.`);
  }
  if (!Object.hasOwn(READERS, format)) {
    return fail(`unknown format ${describe(format)}`, `Expected one of ${DATASET_FORMATS.join(', ')}.`);
  }
  const reader = READERS[format];
  const readOptions: ReadOptions = { style, countTokens, pieceLength };
  const questions = reader.read(text, readOptions, fail).map((draft, id) => ({ id, ...draft }));
  if (questions.length === 0) fail('contains no question');
  return { path, format, questions, generate: reader.generate };
}
