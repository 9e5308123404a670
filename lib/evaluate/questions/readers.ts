import { bigBench, bigBenchHard } from './big-bench.js';
import { type ColumnOptions, choicesIn, table } from './columns.js';
import { answer, at, choice, type Draft, type Fail, type Row, strings } from './fields.js';
import { harnessSamples } from './harness.js';
import { bioGender, bioProfession, facts, fever, hotpot, truthfulQa, wikidata } from './laser-sets.js';
import { pieces } from './pieces.js';
import type { DatasetFormat, PromptStyle } from './question.js';
import type { QuestionFile } from './question-file.js';
import { trueOrFalse } from './true-false.js';

interface ReadOptions {
  readonly style: PromptStyle;
  /** Counts tokens for the limit on HotpotQA's answers. */
  readonly countTokens: ((text: string) => number) | undefined;
  /** The longest piece into which a plain text is cut, in characters. */
  readonly pieceLength: number;
  /** The columns of a table of any shape. */
  readonly columns: ColumnOptions;
}

/** Reads questions from one form of file. `fail` throws, naming the file. */
export interface Reader {
  /** The tokens that LASER's scripts generate; undefined if they compare probabilities. */
  readonly generate?: number;
  readonly read: (file: QuestionFile, options: ReadOptions, fail: Fail) => Draft[];
}

/** Reads a form of file in which each row stands for itself. */
function byRow(read: (row: Row, options: ReadOptions, fail: Fail) => Draft | Draft[]): Reader['read'] {
  return ({ rows }, options, fail) => rows.flatMap((row, i) => read(row, options, at(fail, i)));
}

export const READERS: Readonly<Record<DatasetFormat, Reader>> = {
  jsonl: { read: byRow((row, _, fail) => plain(row, fail)) },
  table: { read: ({ rows }, { columns }, fail) => table(rows, columns, fail) },
  text: {
    read: ({ text }, { pieceLength }) => pieces(text, pieceLength).map((prompt) => ({ kind: 'text', prompt })),
  },
  bigbench: { read: (file, _, fail) => bigBench(file, fail) },
  bbh: { read: (file, _, fail) => bigBenchHard(file, fail) },
  harness: { read: ({ rows }, _, fail) => harnessSamples(rows, fail) },
  'true-false': { read: byRow((row, { style }, fail) => trueOrFalse(row, style, fail)) },
  wikidata: { generate: 10, read: byRow((row, _, fail) => wikidata(row, fail)) },
  truthfulqa: { read: (file, { style }, fail) => truthfulQa(file, style, fail) },
  fever: { read: ({ rows }, { style }, fail) => fever(rows, style, fail) },
  hotpot: { generate: 15, read: ({ rows }, { countTokens }, fail) => hotpot(rows, countTokens, fail) },
  counterfact: { read: byRow((row, { style }, fail) => facts(row, style, fail)) },
  'bios-gender': { read: byRow((row, { style }, fail) => bioGender(row, style, fail)) },
  'bios-profession': { read: byRow((row, { style }, fail) => bioProfession(row, style, fail)) },
};

/** Detects the form of a file by its content; returns undefined if it resembles none of them. */
export function detectFormat({ container, rows, document }: QuestionFile, name: string): DatasetFormat | undefined {
  if (container === 'text') return /\.(txt|text|md)$/i.test(name) ? 'text' : undefined;
  const first = document ?? rows[0];
  if (first === undefined) return undefined;
  const has = (...keys: string[]) => keys.every((key) => key in first);
  // Every task of BIG-bench names its metrics; those of BIG-Bench Hard have examples alone.
  if (has('examples') && document !== undefined) return has('metrics') || has('name') ? 'bigbench' : 'bbh';
  if (has('input', 'target')) return 'bbh';
  if (has('doc_id', 'arguments')) return 'harness';
  if (has('mc2_targets') || has('Question', 'Correct Answers', 'Incorrect Answers')) return 'truthfulqa';
  if (has('claim', 'label')) return 'fever';
  if (has('context', 'continuation')) return 'wikidata';
  if (has('requested_rewrite')) return 'counterfact';
  // Texts with labels may be anything: which columns count has to be said.
  if (has('prompt') || (has('text') && !has('label'))) return 'jsonl';
  if (has('statement', 'label') || has('examples', 'label', 'agreement')) return 'true-false';
  if (has('question', 'answer')) return 'hotpot';
  // A biography serves two tasks, so the caller has to specify one.
  return undefined;
}

function plain(row: Row, fail: Fail): Draft {
  const prompt = row.prompt ?? row.text;
  if (typeof prompt !== 'string') return fail('expected a string "prompt"');
  if (row.choices !== undefined) {
    // A table in text has its list as text.
    const choices =
      typeof row.choices === 'string' ? choicesIn(row, 'choices', fail).choices : strings(row.choices, 'choices', fail);
    if (choices.length < 2) return fail('expected at least 2 choices');
    const given = typeof row.answer === 'string' && row.label === undefined ? choices.indexOf(row.answer) : row.label;
    const label = typeof given === 'string' && /^\d+$/.test(given) ? Number(given) : given;
    if (typeof label !== 'number' || !Number.isInteger(label) || label < 0 || label >= choices.length) {
      return fail(`expected a "label" from 0 to ${choices.length - 1}, or an "answer" that is one of the choices`);
    }
    if (choices.indexOf(row.answer as string) >= 0 && row.answer !== choices[label]) {
      return fail(`the "label" ${label} and the "answer" name different choices`);
    }
    return choice(prompt, choices, label);
  }
  if (typeof row.answer === 'string') return answer(prompt, row.answer, fail);
  if (row.answer !== undefined) return fail('expected a string "answer"');
  if (row.text === undefined) return fail('expected "answer", or "choices" and "label"');
  return { kind: 'text', prompt };
}
