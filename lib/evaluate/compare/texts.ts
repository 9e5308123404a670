import { isUtf8 } from 'node:buffer';
import { LowRankError } from '../../errors.js';
import { readSmallFile, requirePath } from '../../files/files.js';
import { MAX_TEXTS_BYTES } from '../../files/limits.js';
import { checkOptions, type OptionTypes, wholeNumber } from '../../options.js';
import { drawn } from '../../random.js';

export interface TextOptions {
  /** The maximum number of texts to return; all by default. */
  readonly samples?: number;
  /** The seed of the random choice if the file has more texts; 0 by default. */
  readonly seed?: number;
}

const TEXT_OPTIONS: OptionTypes<TextOptions> = { samples: wholeNumber(1), seed: wholeNumber(0) };

/**
 * Reads texts from a local file in UTF-8. In a file of JSON lines, `{ "text": "..." }`, each line
 * is a text. Anything else is plain text: documents separated by blank lines, or one a line if no
 * line is blank. White space around a text is removed, and empty texts are left out.
 *
 * @returns the texts in the order of the file
 * @throws {@link LowRankError} `ERR_DATASET` if the file is malformed or has no text, with the line
 *   of the fault; `ERR_CHECKPOINT_IO` if it cannot be read or has more than 256 MiB.
 */
export async function loadTexts(path: string, options?: TextOptions): Promise<string[]> {
  const { samples, seed = 0 } = checkOptions(options, TEXT_OPTIONS, 'loadTexts');
  requirePath(path);
  const fail = (message: string): never => {
    throw new LowRankError('ERR_DATASET', `${path}: ${message}`, {
      hint: 'Pass plain text, documents separated by blank lines or one a line, or lines of JSON {"text": "..."}.',
    });
  };
  const bytes = await readSmallFile(path, MAX_TEXTS_BYTES);
  if (!isUtf8(bytes)) return fail('is not valid UTF-8');
  const content = Buffer.from(bytes)
    .toString('utf8')
    .replace(/^\ufeff/, '');
  const isJson = content.trimStart().startsWith('{"') || /^\s*\{\s*"/.test(content.slice(0, 100));
  const texts = (isJson ? linesOfJson(content, fail) : plainTexts(content)).map((text) => text.trim()).filter(Boolean);
  if (texts.length === 0) return fail('contains no text');
  if (samples === undefined || texts.length <= samples) return texts;
  const chosen = drawn(texts.length, seed, samples).sort((a, b) => a - b);
  return chosen.map((i) => texts[i]!);
}

function plainTexts(content: string): string[] {
  const isParted = /\r?\n[ \t]*\r?\n/.test(content.trim());
  return content.split(isParted ? /\r?\n[ \t]*\r?\n/ : /\r?\n/);
}

function linesOfJson(content: string, fail: (message: string) => never): string[] {
  return content.split('\n').flatMap((line, i) => {
    if (line.trim() === '') return [];
    const text = (parsed(line) as { text?: unknown } | null | undefined)?.text;
    return typeof text === 'string' ? [text] : fail(`line ${i + 1}: expected an object with a string "text"`);
  });
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
