import { answer, at, choice, type Draft, type Fail, isRow, type Row, string, strings, wholeNumber } from './fields.js';
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
import type { PromptStyle } from './question.js';
import type { QuestionFile } from './question-file.js';

/** The question sets of LASER's experiments (Sharma, Ash and Misra 2023), row by row. */

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

export function wikidata(row: Row, fail: Fail): Draft {
  return answer(string(row, 'context', fail).trim(), string(row, 'continuation', fail).trim(), fail);
}

/**
 * Reads the table of TruthfulQA, or the rows of its multiple-choice form (`mc2_targets`). Every
 * answer becomes a question of its own.
 */
export function truthfulQa({ rows, container }: QuestionFile, style: PromptStyle, fail: Fail): Draft[] {
  const about = (question: string, said: string, isTrue: boolean) =>
    choice(truthfulPrompt(question, said, style), BOOLEANS, isTrue ? 1 : 0);
  if (container !== 'csv') {
    return rows.flatMap((row, i) => {
      const question = string(row, 'question', at(fail, i));
      return multipleChoice(row.mc2_targets, at(fail, i)).map(([said, isTrue]) => about(question, said, isTrue));
    });
  }
  return rows.flatMap((row, i) => {
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
export function fever(list: readonly Row[], style: PromptStyle, fail: Fail): Draft[] {
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

export function hotpot(rows: readonly Row[], countTokens: ((text: string) => number) | undefined, fail: Fail): Draft[] {
  return rows.flatMap((row, i) => {
    const said = string(row, 'answer', at(fail, i)).trim();
    if (countTokens !== undefined && countTokens(said) > HOTPOT_MAX_ANSWER_TOKENS) return [];
    return [answer(hotpotPrompt(string(row, 'question', at(fail, i)).trim()), said, at(fail, i))];
  });
}

/** Returns the question and its two paraphrases. */
export function facts(row: Row, style: PromptStyle, fail: Fail): Draft[] {
  const rewrite = row.requested_rewrite;
  if (!isRow(rewrite) || !isRow(rewrite.target_true)) return fail('expected "requested_rewrite" with "target_true"');
  const said = string(rewrite.target_true, 'str', fail);
  const subject = string(rewrite, 'subject', fail);
  const question = string(rewrite, 'prompt', fail).replace('{}', () => subject);
  const paraphrases = strings(row.paraphrase_prompts, 'paraphrase_prompts', fail);
  return [question, ...paraphrases].map((prompt) => answer(counterFactPrompt(prompt, style), said, fail));
}

export function bioGender(row: Row, style: PromptStyle, fail: Fail): Draft {
  const label = wholeNumber(row, 'gender', GENDERS.length, fail);
  return choice(bioGenderPrompt(string(row, 'hard_text', fail), style), GENDERS, label);
}

/** Returns nothing for a profession that is not among LASER's eight. */
export function bioProfession(row: Row, style: PromptStyle, fail: Fail): Draft[] {
  const name = BIOS_LABELS[wholeNumber(row, 'profession', BIOS_LABELS.length, fail)]!;
  const label = (PROFESSIONS as readonly string[]).indexOf(name);
  if (label < 0) return [];
  return [choice(bioProfessionPrompt(string(row, 'hard_text', fail), style), PROFESSIONS, label)];
}
