import { parseCsvRecords } from './csv.js';
import {
  BOOLEANS,
  bioGenderPrompt,
  bioProfessionPrompt,
  counterFactPrompt,
  feverPrompt,
  GENDERS,
  hotpotPrompt,
  PROFESSIONS,
  truthfulPrompt,
} from './prompts.js';
import type { DatasetFormat, PromptStyle, Question } from './question.js';

/** A question without its index in the set. */
type Draft = Omit<Question, 'id'>;

export interface ReadOptions {
  readonly style: PromptStyle;
  /** Counts tokens for the limit on HotpotQA's answers. */
  readonly countTokens: ((text: string) => number) | undefined;
  /** The longest piece into which a plain text is cut, in characters. */
  readonly pieceLength: number;
}

/** Reads questions from one form of file. `fail` throws, naming the file. */
export interface Reader {
  /** The tokens that LASER's scripts generate; undefined if they compare probabilities. */
  readonly generate?: number;
  readonly read: (text: string, options: ReadOptions, fail: Fail) => Draft[];
}

type Fail = (message: string) => never;

type Row = Record<string, unknown>;

/**
 * LASER keeps HotpotQA's answers of at most this many tokens of Llama's tokenizer, including its
 * BOS.
 */
const HOTPOT_MAX_ANSWER_TOKENS = 15;

/** The professions of Bias in Bios by the number in its rows. */
const BIOS_LABELS = [
  'accountant',
  'architect',
  'attorney',
  'chiropractor',
  'comedian',
  'composer',
  'dentist',
  'dietitian',
  'dj',
  'filmmaker',
  'interior designer',
  'journalist',
  'model',
  'nurse',
  'painter',
  'paralegal',
  'pastor',
  'personal trainer',
  'photographer',
  'physician',
  'poet',
  'professor',
  'psychologist',
  'rapper',
  'software engineer',
  'surgeon',
  'teacher',
  'yoga teacher',
];

export const READERS: Readonly<Record<DatasetFormat, Reader>> = {
  jsonl: { read: (text, _, fail) => rows(text, fail).map((row, i) => plain(row, at(fail, i))) },
  text: { read: (text, { pieceLength }) => pieces(text, pieceLength).map((prompt) => ({ kind: 'text', prompt })) },
  bigbench: { read: (text, _, fail) => bigBench(text, fail) },
  wikidata: { generate: 10, read: (text, _, fail) => rows(text, fail).map((row, i) => wikidata(row, at(fail, i))) },
  truthfulqa: { read: truthfulQa },
  fever: { read: (text, { style }, fail) => fever(rows(text, fail), style, fail) },
  hotpot: { generate: 15, read: hotpot },
  counterfact: {
    read: (text, { style }, fail) => rows(text, fail).flatMap((row, i) => facts(row, style, at(fail, i))),
  },
  'bios-gender': {
    read: (text, { style }, fail) =>
      rows(text, fail).map((row, i) => {
        const label = wholeNumber(row, 'gender', GENDERS.length, at(fail, i));
        return choice(bioGenderPrompt(string(row, 'hard_text', at(fail, i)), style), GENDERS, label);
      }),
  },
  'bios-profession': {
    read: (text, { style }, fail) =>
      rows(text, fail).flatMap((row, i) => {
        const name = BIOS_LABELS[wholeNumber(row, 'profession', BIOS_LABELS.length, at(fail, i))]!;
        const label = (PROFESSIONS as readonly string[]).indexOf(name);
        if (label < 0) return [];
        return [choice(bioProfessionPrompt(string(row, 'hard_text', at(fail, i)), style), PROFESSIONS, label)];
      }),
  },
};

/** Detects the form of a file by its content; returns undefined if it resembles none of them. */
export function detectFormat(text: string, name: string): DatasetFormat | undefined {
  const start = text
    .slice(0, 4096)
    .replace(/^\ufeff/, '')
    .trimStart();
  if (/^Type,Category,Question,Best Answer/.test(start)) return 'truthfulqa';
  if (start.startsWith('{') || start.startsWith('[')) {
    const first = firstObject(text);
    if (first === undefined) return undefined;
    const has = (...keys: string[]) => keys.every((key) => key in first);
    if (has('examples')) return 'bigbench';
    if (has('mc2_targets')) return 'truthfulqa';
    if (has('claim', 'label')) return 'fever';
    if (has('context', 'continuation')) return 'wikidata';
    if (has('requested_rewrite')) return 'counterfact';
    if (has('prompt') || has('text')) return 'jsonl';
    if (has('question', 'answer')) return 'hotpot';
    // A biography serves two tasks, so the caller has to specify one.
    return undefined;
  }
  return /\.(txt|text|md)$/i.test(name) ? 'text' : undefined;
}

/** Returns the first object of a JSON document, of an array in it, or of lines of JSON. */
function firstObject(text: string): Row | undefined {
  const line = /[^\r\n]+/.exec(text.replace(/^\ufeff/, ''))?.[0] ?? '';
  for (const candidate of [line, text.replace(/^\ufeff/, '')]) {
    try {
      const value: unknown = JSON.parse(candidate);
      const first = Array.isArray(value) ? value[0] : value;
      return isRow(first) ? first : undefined;
    } catch {
      // The line is not a complete document; the file may be one.
    }
  }
  return undefined;
}

/** Returns the rows of a JSON array, or of lines of JSON. */
function rows(text: string, fail: Fail): Row[] {
  const content = text.replace(/^\ufeff/, '');
  if (content.trimStart().startsWith('[')) {
    const value = parse(content, fail);
    if (!Array.isArray(value)) return fail('expected an array of objects');
    return value.map((row, i) => (isRow(row) ? row : at(fail, i)('expected an object')));
  }
  return content.split(/\r?\n/).flatMap((line, i) => {
    if (line.trim() === '') return [];
    const failHere: Fail = (message) => fail(`line ${i + 1}: ${message}`);
    const row = parse(line, failHere);
    return [isRow(row) ? row : failHere('expected an object')];
  });
}

function plain(row: Row, fail: Fail): Draft {
  const prompt = row.prompt ?? row.text;
  if (typeof prompt !== 'string') return fail('expected a string "prompt"');
  if (row.choices !== undefined) {
    const choices = strings(row.choices, 'choices', fail);
    if (choices.length < 2) return fail('expected at least 2 choices');
    const label = typeof row.answer === 'string' && row.label === undefined ? choices.indexOf(row.answer) : row.label;
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

/**
 * Reads a BIG-bench task. Its prefixes are put around each input, and trailing white space is
 * removed, as in LASER's source.
 */
function bigBench(text: string, fail: Fail): Draft[] {
  const task = parse(text.replace(/^\ufeff/, ''), fail);
  if (!isRow(task) || !Array.isArray(task.examples)) return fail('expected a task with "examples"');
  const affix = (name: string, otherwise: string) => {
    const value = task[name] ?? otherwise;
    return typeof value === 'string' ? value : fail(`expected a string "${name}"`);
  };
  const prefix = affix('task_prefix', '');
  const [before, after] = [affix('example_input_prefix', '\nQ: '), affix('example_output_prefix', '\nA: ')];
  const listed = affix('choice_prefix', '\n  choice: ');
  const listsChoices = task.append_choices_to_input !== false;
  return task.examples.flatMap((example: unknown, i): Draft[] => {
    const failHere = at(fail, i);
    if (!isRow(example)) return failHere('expected an object');
    const input = string(example, 'input', failHere);
    const scores = example.target_scores;
    if (!isRow(scores)) {
      const targets =
        typeof example.target === 'string' ? [example.target] : strings(example.target, 'target', failHere);
      // LASER leaves out questions with several right answers.
      return targets.length === 1
        ? [answer(`${prefix}${before}${input}${after}`.trim(), targets[0]!.trim(), failHere)]
        : [];
    }
    const choices = Object.keys(scores);
    const list = listsChoices ? choices.map((text) => `${listed}${text}`).join('') : '';
    const best = Math.max(...choices.map((text) => Number(scores[text])));
    const label = choices.findIndex((text) => Number(scores[text]) === best);
    return [choice(`${prefix}${before}${input}${list}${after}`.trim(), choices, label)];
  });
}

function wikidata(row: Row, fail: Fail): Draft {
  return answer(string(row, 'context', fail).trim(), string(row, 'continuation', fail).trim(), fail);
}

/**
 * Reads the table of TruthfulQA, or the rows of its multiple-choice form (`mc2_targets`). Every
 * answer becomes a question of its own.
 */
function truthfulQa(text: string, { style }: ReadOptions, fail: Fail): Draft[] {
  const about = (question: string, said: string, isTrue: boolean) =>
    choice(truthfulPrompt(question, said, style), BOOLEANS, isTrue ? 1 : 0);
  if (/^[\ufeff\s]*[[{]/.test(text)) {
    return rows(text, fail).flatMap((row, i) => {
      const question = string(row, 'question', at(fail, i));
      return multipleChoice(row.mc2_targets, at(fail, i)).map(([said, isTrue]) => about(question, said, isTrue));
    });
  }
  return parseCsvRecords(text, fail).flatMap((row, i) => {
    const question = string(row, 'Question', at(fail, i));
    const list = (column: string) =>
      string(row, column, at(fail, i))
        .split(';')
        .map((said) => said.trim())
        .filter((said) => said !== '');
    return [
      ...list('Correct Answers').map((said) => about(question, said, true)),
      ...list('Incorrect Answers').map((said) => about(question, said, false)),
    ];
  });
}

/**
 * Reads `{ choices, labels }` as on Hugging Face, or `{ choice: label }` as in the authors' own
 * file.
 */
function multipleChoice(targets: unknown, fail: Fail): [string, boolean][] {
  if (!isRow(targets)) return fail('expected an object "mc2_targets"');
  if (!Array.isArray(targets.choices)) return Object.entries(targets).map(([said, label]) => [said, label === 1]);
  const choices = strings(targets.choices, 'choices', fail);
  const labels = targets.labels;
  if (!Array.isArray(labels) || labels.length !== choices.length) return fail('expected one label for each choice');
  return choices.map((said, i) => [said, labels[i] === 1]);
}

/**
 * Like LASER: keeps each claim once, and none whose rows contradict each other. Its source has no
 * claims without enough information.
 */
function fever(list: readonly Row[], style: PromptStyle, fail: Fail): Draft[] {
  const claims = new Map<string, Set<number>>();
  for (const [i, row] of list.entries()) {
    const { label } = row;
    if (label === 'NOT ENOUGH INFO') continue;
    const failHere = at(fail, i);
    const value =
      label === 'SUPPORTS' || label === 1
        ? 1
        : label === 'REFUTES' || label === 0
          ? 0
          : failHere('expected a label SUPPORTS, REFUTES or NOT ENOUGH INFO');
    const claim = string(row, 'claim', at(fail, i));
    claims.set(claim, (claims.get(claim) ?? new Set()).add(value));
  }
  return [...claims].flatMap(([claim, labels]) =>
    labels.size === 1 ? [choice(feverPrompt(claim, style), BOOLEANS, [...labels][0]!)] : [],
  );
}

function hotpot(text: string, { countTokens }: ReadOptions, fail: Fail): Draft[] {
  return rows(text, fail).flatMap((row, i) => {
    const said = string(row, 'answer', at(fail, i)).trim();
    if (countTokens !== undefined && countTokens(said) > HOTPOT_MAX_ANSWER_TOKENS) return [];
    return [answer(hotpotPrompt(string(row, 'question', at(fail, i)).trim()), said, at(fail, i))];
  });
}

/** Returns the question and its two paraphrases. */
function facts(row: Row, style: PromptStyle, fail: Fail): Draft[] {
  const rewrite = row.requested_rewrite;
  if (!isRow(rewrite) || !isRow(rewrite.target_true)) return fail('expected "requested_rewrite" with "target_true"');
  const said = string(rewrite.target_true, 'str', fail);
  const subject = string(rewrite, 'subject', fail);
  const question = string(rewrite, 'prompt', fail).replace('{}', () => subject);
  const paraphrases = strings(row.paraphrase_prompts, 'paraphrase_prompts', fail);
  return [question, ...paraphrases].map((prompt) => answer(counterFactPrompt(prompt, style), said, fail));
}

/**
 * Cuts a text into pieces of at most `length` characters, at its `<|endoftext|>` marks, otherwise
 * at the ends of lines, otherwise at spaces, so that a set of them can be divided, sampled and
 * compared pairwise.
 *
 * @internal
 */
export function pieces(text: string, length: number): string[] {
  const result: string[] = [];
  for (const document of text.replace(/^\ufeff/, '').split('<|endoftext|>')) {
    let rest = document.trim();
    while (rest.length > length) {
      const head = rest.slice(0, length + 1);
      const cut = [head.lastIndexOf('\n'), head.search(/\s\S*$/)].find((index) => index > length / 2) ?? length;
      result.push(rest.slice(0, cut).trimEnd());
      rest = rest.slice(cut).trimStart();
    }
    if (rest !== '') result.push(rest);
  }
  return result;
}

function choice(prompt: string, choices: readonly string[], label: number): Draft {
  return { kind: 'choice', prompt, choices, label, answer: choices[label]! };
}

function answer(prompt: string, said: string, fail: Fail): Draft {
  return said === '' ? fail('the answer is empty') : { kind: 'answer', prompt, answer: said };
}

function at(fail: Fail, index: number): Fail {
  return (message) => fail(`row ${index + 1}: ${message}`);
}

function parse(text: string, fail: Fail): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    return fail(`is not valid JSON: ${(cause as Error).message}`);
  }
}

function isRow(value: unknown): value is Row {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function string(row: Row, key: string, fail: Fail): string {
  const value = row[key];
  return typeof value === 'string' ? value : fail(`expected a string ${JSON.stringify(key)}`);
}

function strings(value: unknown, key: string, fail: Fail): string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) {
    return fail(`expected an array of strings ${JSON.stringify(key)}`);
  }
  return value;
}

function wholeNumber(row: Row, key: string, end: number, fail: Fail): number {
  const value = row[key];
  const fits = typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < end;
  return fits ? value : fail(`expected ${JSON.stringify(key)} from 0 to ${end - 1}`);
}
