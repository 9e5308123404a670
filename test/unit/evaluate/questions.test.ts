import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCsv, parseCsvRecords } from '../../../lib/evaluate/questions/csv.js';
import { type LoadOptions, loadQuestions } from '../../../lib/evaluate/questions/load.js';
import { pieces } from '../../../lib/evaluate/questions/pieces.js';
import type { Question } from '../../../lib/evaluate/questions/question.js';
import { splitQuestions } from '../../../lib/evaluate/questions/split.js';
import { temporaryFolder } from '../../support/folder.js';

const datasets = fileURLToPath(new URL('../../../../shared/data/datasets', import.meta.url));
const unlessNoData = existsSync(datasets) ? '' : ' (skipped: ../shared/data is absent)';

const refuse = (message: string): never => {
  throw new Error(message);
};

const folder = temporaryFolder();

/** The questions of a file with this content. */
async function read(content: string, { name = 'questions.jsonl', ...options }: LoadOptions & { name?: string } = {}) {
  const path = join(folder, name);
  await writeFile(path, content);
  return loadQuestions(path, options);
}

const lines = (...rows: unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');

describe('CSV', () => {
  it('reads quotes, doubled quotes, commas and line breaks in fields, and a byte order mark', () => {
    expect(parseCsv('\ufeffa,"b ""c"", d"\r\n"e\nf",\n\n,"g"', refuse)).toEqual([
      ['a', 'b "c", d'],
      ['e\nf', ''],
      ['', 'g'],
    ]);
    expect(parseCsv('a,', refuse)).toEqual([['a', '']]);
    expect(parseCsv('', refuse)).toEqual([]);
    expect(parseCsv('""\n', refuse)).toEqual([]);
  });

  it('refuses what RFC 4180 refuses, naming the line', () => {
    expect(() => parseCsv('a\n"b', refuse)).toThrow('line 2: unterminated quoted field');
    expect(() => parseCsv('a\n"b\n"c', refuse)).toThrow('line 3: expected a comma');
    expect(() => parseCsv('a"b"', refuse)).toThrow('line 1: a quote within an unquoted field');
    expect(() => parseCsvRecords('a,b\n1,2\n3\n', refuse)).toThrow('row 3: expected 2 fields as in the header, got 1');
    expect(() => parseCsvRecords('', refuse)).toThrow('is empty');
  });

  it('reads back whatever is quoted', () => {
    const field = fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', ' ', 'é') });
    const table = fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { minLength: 1 });
    fc.assert(
      fc.property(table, (rows) => {
        const text = rows.map((row) => row.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(',')).join('\r\n');
        expect(parseCsv(text, refuse)).toEqual(rows);
      }),
    );
  });
});

describe('loadQuestions', () => {
  it('reads lines of JSON: answers, choices, texts', async () => {
    const set = await read(
      lines(
        { prompt: '2 + 2 =', answer: '4' },
        { prompt: 'The sky is', choices: ['green', 'blue'], label: 1 },
        { prompt: 'Snow is', choices: ['white', 'black'], answer: 'white' },
        { text: 'Once upon a time' },
      ),
    );
    expect(set).toMatchObject({ format: 'jsonl', generate: undefined });
    expect(set.questions).toEqual([
      { id: 0, kind: 'answer', prompt: '2 + 2 =', answer: '4' },
      { id: 1, kind: 'choice', prompt: 'The sky is', choices: ['green', 'blue'], label: 1, answer: 'blue' },
      { id: 2, kind: 'choice', prompt: 'Snow is', choices: ['white', 'black'], label: 0, answer: 'white' },
      { id: 3, kind: 'text', prompt: 'Once upon a time' },
    ]);
  });

  it('words CounterFact and its paraphrases as LASER', async () => {
    const fact = {
      requested_rewrite: { prompt: 'The mother tongue of {} is', subject: 'A $& B', target_true: { str: 'French' } },
      paraphrase_prompts: ['One. A $& B spoke', 'Two. A $& B speaks '],
    };
    const set = await read(JSON.stringify([fact]), { name: 'counterfact.json' });
    expect(set.format).toBe('counterfact');
    expect(set.questions.map(({ prompt, answer }) => [prompt, answer])).toEqual([
      ['The mother tongue of A $& B is', 'French'],
      ['One. A $& B spoke', 'French'],
      ['Two. A $& B speaks ', 'French'],
    ]);
    const masked = await read(JSON.stringify([fact]), { name: 'counterfact.json', style: 'masked' });
    expect(masked.questions.map(({ prompt }) => prompt)).toEqual([
      'The mother tongue of A $& B is <mask>.',
      'One. A $& B spoke <mask>.',
      'Two. A $& B speaks <mask>.',
    ]);
  });

  it('words biographies as LASER, and keeps the eight professions', async () => {
    const bios = lines(
      { hard_text: 'She paints walls', gender: 1, profession: 14 },
      { hard_text: 'He counts.', gender: 0, profession: 0 },
    );
    const gender = await read(bios, { format: 'bios-gender' });
    expect(gender.questions[0]).toMatchObject({
      prompt:
        'Consider the following text: She paints walls. Is the person in this text a male or female? The gender of this person is',
      choices: ['male', 'female'],
      label: 1,
    });
    expect(gender.questions).toHaveLength(2);
    const profession = await read(bios, { format: 'bios-profession' });
    expect(profession.questions).toHaveLength(1);
    expect(profession.questions[0]).toMatchObject({
      prompt:
        'Consider the following text: She paints walls. What is the profession of the person in this text? The profession of this person is',
      answer: 'painter',
      label: 6,
    });
    await expect(read(bios)).rejects.toMatchObject({
      code: 'ERR_DATASET',
      hint: expect.stringContaining('bios-gender'),
    });
  });

  it('leaves out contradicting claims, doubles, and those without enough information', async () => {
    const set = await read(
      lines(
        { claim: 'A', label: 'SUPPORTS' },
        { claim: 'B?', label: 'REFUTES' },
        { claim: 'A', label: 'SUPPORTS' },
        { claim: 'C', label: 'SUPPORTS' },
        { claim: 'C', label: 'REFUTES' },
        { claim: 'A', label: 'NOT ENOUGH INFO' },
      ),
    );
    expect(set.questions.map(({ prompt, answer }) => [prompt, answer])).toEqual([
      ['Consider the following claim: A. Is this claim true or false. The claim is', 'true'],
      ['Consider the following claim: B? Is this claim true or false. The claim is', 'false'],
    ]);
  });

  it('leaves out long answers of HotpotQA if tokens can be counted', async () => {
    const rows = [
      { question: 'Who', answer: 'a b' },
      { question: 'What?', answer: Array(16).fill('x').join(' ') },
    ];
    const countTokens = (text: string) => text.split(' ').length;
    expect((await read(JSON.stringify(rows))).questions).toHaveLength(2);
    const set = await read(JSON.stringify(rows), { countTokens });
    expect(set).toMatchObject({ format: 'hotpot', generate: 15 });
    expect(set.questions).toEqual([{ id: 0, kind: 'answer', prompt: 'Who? The answer is', answer: 'a b' }]);
  });

  it("reads TruthfulQA's multiple choice in both of its layouts", async () => {
    const question = 'Why?';
    const theirs = { question, mc2_targets: { choices: ['So.', 'No'], labels: [1, 0] } };
    const own = { question, mc2_targets: { 'So.': 1, No: 0 } };
    const expected = [
      ['Why? So.Is this statement true or false? This statement is', 'true'],
      ['Why? No.Is this statement true or false? This statement is', 'false'],
    ];
    for (const row of [theirs, own]) {
      const { questions, format } = await read(JSON.stringify([row]));
      expect(format).toBe('truthfulqa');
      expect(questions.map(({ prompt, answer }) => [prompt, answer])).toEqual(expected);
    }
  });

  it('refuses invalid files, naming the position', async () => {
    const fault = (content: string, options?: LoadOptions) =>
      read(content, options).then(
        () => 'accepted',
        ({ code, message }: { code: string; message: string }) => `${code} ${message.replace(/^.*?: /, '')}`,
      );
    expect(await fault('{"prompt":"a"}\n')).toBe('ERR_DATASET row 1: expected "answer", or "choices" and "label"');
    expect(await fault('{"prompt":"a","answer":"b"}\n{"prompt":')).toMatch(/^ERR_DATASET line 2: is not valid JSON/);
    expect(await fault(lines({ prompt: 'a', choices: ['b', 'c'], label: 2 }))).toMatch(/"label" from 0 to 1/);
    expect(await fault(lines({ prompt: 'a', choices: ['b', 'c'], answer: 'd' }))).toMatch(/one of the choices/);
    const two = lines({ prompt: 'a', choices: ['b', 'c'], label: 0, answer: 'c' });
    expect(await fault(two)).toMatch(/row 1: the "label" 0 and the "answer" name different choices/);
    expect(await fault(lines({ prompt: 'a', choices: ['b', 'c'], label: 1, answer: 'B' }))).toBe('accepted');
    expect(await fault(lines({ prompt: 'a', answer: '' }))).toMatch(/the answer is empty/);
    expect(await fault('[]', { format: 'jsonl' })).toBe('ERR_DATASET contains no question');
    expect(await fault('something else')).toMatch(/cannot detect the format/);
    expect(await fault('{"claim":"a","label":"MAYBE"}')).toMatch(/row 1: expected a label SUPPORTS/);
    await expect(read('abc', { format: 'text', pieceLength: 0 })).rejects.toMatchObject({ argument: 'pieceLength' });
    await expect(loadQuestions(join(folder, 'absent'))).rejects.toMatchObject({ code: 'ERR_DATASET' });
    await expect(read('x', { format: 'yaml' as 'jsonl' })).rejects.toMatchObject({ code: 'ERR_DATASET' });
  });
});

describe('pieces of a text', () => {
  it('are cut at documents, lines and spaces, and lose nothing but white space', () => {
    expect(pieces('one two three', 8)).toEqual(['one two', 'three']);
    expect(pieces('one\ntwo three', 10)).toEqual(['one\ntwo', 'three']);
    expect(pieces('one<|endoftext|>\ntwo', 100)).toEqual(['one', 'two']);
    expect(pieces('abcdefgh', 3)).toEqual(['abc', 'def', 'gh']);
    const text = fc.string({ unit: fc.constantFrom('a', 'bc', ' ', '\n') });
    fc.assert(
      fc.property(text, fc.integer({ min: 1, max: 12 }), (value, length) => {
        const result = pieces(value, length);
        expect(result.join('').replace(/\s/g, '')).toBe(value.replace(/\s/g, ''));
        for (const piece of result) expect(piece.length).toBeLessThanOrEqual(length);
      }),
    );
  });
});

describe('splitQuestions', () => {
  const questions = Array.from({ length: 11 }, (_, id): Question => ({ id, kind: 'text', prompt: String(id) }));
  const ids = (list: readonly Question[]) => list.map(({ id }) => id);

  it('takes the first fifth, rounded down, as LASER', () => {
    expect(ids(splitQuestions(questions, 'validation'))).toEqual([0, 1]);
    expect(ids(splitQuestions(questions, 'test'))).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(splitQuestions(questions, 'all')).toBe(questions);
  });

  it('shuffles by seed into parts that never meet', () => {
    const parts = (seed: number) =>
      (['validation', 'test'] as const).map((split) =>
        ids(splitQuestions(questions, split, { seed, validation: 0.5 })),
      );
    const [validation, test] = parts(7) as [number[], number[]];
    expect([validation.length, test.length]).toEqual([5, 6]);
    expect([...validation, ...test].sort((a, b) => a - b)).toEqual(ids(questions));
    expect(parts(7)).toEqual([validation, test]);
    expect(parts(8)).not.toEqual([validation, test]);
  });

  it('refuses other splits and shares', () => {
    expect(() => splitQuestions(questions, 'train' as 'test')).toThrow('split');
    expect(() => splitQuestions(questions, 'test', { validation: 1.5 })).toThrow('validation');
  });
});

describe.skipIf(!existsSync(datasets))(`public question sets${unlessNoData}`, () => {
  const load = (name: string) => loadQuestions(join(datasets, name));

  it('epistemic reasoning: 2,000 questions', async () => {
    const { format, questions } = await load('bigbench_epistemic_reasoning.task.json');
    expect(format).toBe('bigbench');
    expect(questions).toHaveLength(2000);
    const [first] = questions;
    expect(first?.prompt).toMatch(
      /^Identify the relation between the following premises and hypotheses, choosing from the options 'entailment' or 'non-entailment'\.\n\nPremise: James understands that Charles thinks that three children hold/,
    );
    // LASER asserts this ending.
    for (const { prompt } of questions) expect(prompt).toMatch(/\nRelation:$/);
    expect(first?.choices).toEqual(['entailment', 'non-entailment']);
    expect(first?.answer).toBe('non-entailment');
    expect(splitQuestions(questions, 'validation')).toHaveLength(400);
  });

  it('questions on Wikidata: 20,321', async () => {
    const { format, generate, questions } = await load('bigbench_qa_wikidata.jsonl');
    expect([format, generate, questions.length]).toEqual(['wikidata', 10, 20_321]);
    expect(questions[0]).toEqual({
      id: 0,
      kind: 'answer',
      prompt: 'The native language of Daniel Schneidermann is',
      answer: 'French',
    });
  });

  it('FEVER: the 6,510 claims of the development part', async () => {
    const { format, questions } = await load('fever_paper_dev.jsonl');
    expect([format, questions.length]).toEqual(['fever', 6510]);
    expect(questions[0]).toMatchObject({
      prompt:
        'Consider the following claim: Fox 2000 Pictures released the film Soul Food. Is this claim true or false. The claim is',
      choices: ['false', 'true'],
      label: 1,
    });
  });

  it('TruthfulQA: every answer of 817 questions', async () => {
    const { format, questions } = await load('TruthfulQA.csv');
    // As Python's csv module and a division at semicolons count them.
    expect([format, questions.length]).toEqual(['truthfulqa', 6209]);
    expect(questions[0]).toMatchObject({
      prompt:
        'What happens to you if you eat watermelon seeds? Nothing happens.Is this statement true or false? This statement is',
      answer: 'true',
    });
  });

  it('HotpotQA: 7,405', async () => {
    const { format, questions } = await load('hotpot_dev_v1_simplified.json');
    expect([format, questions.length]).toEqual(['hotpot', 7405]);
    expect(questions[0]).toMatchObject({
      prompt: 'Were Scott Derrickson and Ed Wood of the same nationality? The answer is',
      answer: 'yes',
    });
  });

  it('plain text, in pieces', async () => {
    const { format, questions } = await load('tinystories_sample.txt');
    expect(format).toBe('text');
    expect(questions.length).toBeGreaterThan(1);
  });
});
