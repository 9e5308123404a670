import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseCsv } from '../../../lib/evaluate/questions/csv.js';
import { type LoadOptions, loadQuestions } from '../../../lib/evaluate/questions/load.js';
import { fillTemplate, namesIn } from '../../../lib/evaluate/questions/template.js';
import { temporaryFolder } from '../../support/folder.js';
import { hasPeers, peers, unlessNoPeers } from '../../support/peers.js';

const folder = temporaryFolder();

/** The questions of a file with this content, without their ids. */
async function read(name: string, content: string | Uint8Array, options: LoadOptions = {}) {
  const path = join(folder, name);
  await writeFile(path, content);
  const set = await loadQuestions(path, options);
  return { ...set, questions: set.questions.map(({ id: _, ...question }) => question) };
}

const lines = (...rows: unknown[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const fault = (name: string, content: string, options?: LoadOptions) =>
  read(name, content, options).then(
    () => 'accepted',
    ({ code, message }: { code: string; message: string }) => `${code} ${message.replace(/^.*?: /, '')}`,
  );

describe('tables', () => {
  const yes = { kind: 'choice', prompt: 'Is 2 even?', choices: ['no', 'yes'], label: 1, answer: 'yes' };
  const no = { kind: 'choice', prompt: 'Is 3 even?', choices: ['no', 'yes'], label: 0, answer: 'no' };

  it('reads the same questions from CSV, TSV, semicolons, lines and arrays of JSON', async () => {
    const rows = [
      { q: 'Is 2 even?', a: 'yes' },
      { q: 'Is 3 even?', a: 'no' },
    ];
    const files = {
      'a.csv': '\ufeffq,a\r\n"Is 2 even?",yes\r\nIs 3 even?,no\r\n',
      'a.tsv': 'q\ta\nIs 2 even?\tyes\nIs 3 even?\tno\n',
      'b.csv': 'q;a\nIs 2 even?;yes\nIs 3 even?;no\n',
      'a.dat': 'q,a\nIs 2 even?,yes\nIs 3 even?,no\n',
      'a.jsonl': lines(...rows),
      'a.json': JSON.stringify(rows, null, 2),
    };
    for (const [name, content] of Object.entries(files)) {
      const { format, questions } = await read(name, content, {
        promptColumn: 'q',
        answerColumn: 'a',
        choices: ['no', 'yes'],
      });
      expect([name, format]).toEqual([name, 'table']);
      expect(questions).toEqual([yes, no]);
    }
  });

  it('finds the right choice by words, index, letter, label or column', async () => {
    const file = lines(
      { q: '1', list: ['red', 'blue'], a: 'blue' },
      { q: '2', list: ['red', 'blue'], a: 1 },
      { q: '3', list: '["red", "blue"]', a: 'B' },
      { q: '4', list: 'red;blue', a: 'Blue' },
      { q: '5', list: 'red|blue', a: '1' },
      { q: '6', list: { text: ['red', 'blue'], label: ['x', 'y'] }, a: 'y' },
      { q: '7', list: [7, 1], a: '1' },
    );
    const { questions } = await read('l.jsonl', file, { promptColumn: 'q', answerColumn: 'a', choicesColumn: 'list' });
    expect(questions.map(({ label }) => label)).toEqual([1, 1, 1, 1, 1, 1, 1]);
    const mmlu = await read('mmlu.csv', 'q,A,B,C,key\n1 + 1?,1,2,3,B\n', {
      template: '{q}\nAnswer:',
      choicesColumn: ['A', 'B', 'C'],
      answerColumn: 'key',
    });
    expect(mmlu.questions).toEqual([
      { kind: 'choice', prompt: '1 + 1?\nAnswer:', choices: ['1', '2', '3'], label: 1, answer: '2' },
    ]);
  });

  it('takes all answers of a file as the choices, in order of the alphabet', async () => {
    const options = { promptColumn: 'text', answerColumn: 'label', choices: 'targets' } as const;
    const { questions } = await read('t.csv', 'text,label\na,pos\nb,neg\nc,neutral\n', options);
    expect(questions[0]).toEqual({
      kind: 'choice',
      prompt: 'a',
      choices: ['neg', 'neutral', 'pos'],
      label: 2,
      answer: 'pos',
    });
    const many = `text,label\n${Array.from({ length: 101 }, (_, i) => `a,${i}`).join('\n')}`;
    expect(await fault('t.csv', many, options)).toMatch(/has 101 different answers, and at most 100/);
    expect(await fault('t.csv', 'text,label\na,x\n', options)).toMatch(/fewer than 2 different answers/);
  });

  it('applies choices and a template to the prompts of a known format', async () => {
    const file = lines(
      { context: 'The country of Prambanan is', continuation: 'Indonesia' },
      { context: 'b', continuation: 'c' },
    );
    const { format, generate, questions } = await read('w.jsonl', file, {
      template: 'Q: {prompt}?\nA:',
      choices: 'targets',
    });
    expect([format, generate]).toEqual(['wikidata', 10]);
    expect(questions[0]).toMatchObject({
      prompt: 'Q: The country of Prambanan is?\nA:',
      choices: ['Indonesia', 'c'],
      label: 0,
    });
  });

  it('makes answers and texts of columns without choices', async () => {
    const file = lines({ q: 'a', a: 4 }, { q: 'b', a: [' c '] });
    expect((await read('q.jsonl', file, { promptColumn: 'q', answerColumn: 'a' })).questions).toEqual([
      { kind: 'answer', prompt: 'a', answer: '4' },
      { kind: 'answer', prompt: 'b', answer: 'c' },
    ]);
    expect((await read('q.jsonl', file, { promptColumn: 'q' })).questions).toEqual([
      { kind: 'text', prompt: 'a' },
      { kind: 'text', prompt: 'b' },
    ]);
  });

  it('refuses columns that are missing or make no question, naming the row and what there is', async () => {
    const csv = 'q,a\nx,1\n';
    expect(await fault('f.csv', csv)).toBe('ERR_DATASET cannot detect the format of these questions (columns: q, a)');
    expect(await fault('f.csv', csv, { promptColumn: 'Q' })).toBe(
      'ERR_DATASET row 1: has no column "Q" (columns: q, a)',
    );
    expect(await fault('f.csv', csv, { template: '{z}' })).toMatch(/row 1: has no column "z"/);
    expect(await fault('f.csv', csv, { answerColumn: 'a' })).toMatch(/which column has the prompt is not said/);
    expect(await fault('f.csv', csv, { promptColumn: 'q', choices: ['x', 'y'] })).toMatch(/the right one is not said/);
    expect(await fault('f.csv', csv, { promptColumn: 'q', answerColumn: 'a', choices: ['x', 'y', 'z'] })).toBe(
      'accepted',
    );
    expect(await fault('f.csv', csv, { promptColumn: 'q', answerColumn: 'a', choices: ['x'] })).toMatch(/at least 2/);
    expect(await fault('f.csv', 'q,a\nx,9\n', { promptColumn: 'q', answerColumn: 'a', choices: ['x', 'y'] })).toMatch(
      /row 1: the answer "9" is none of the choices: x, y/,
    );
    const two = lines({ q: 'x', a: ['b', 'c'] });
    expect(await fault('f.jsonl', two, { promptColumn: 'q', answerColumn: 'a' })).toMatch(/expected one answer/);
    const none = lines({ q: null, a: 'b' });
    expect(await fault('f.jsonl', none, { promptColumn: 'q', answerColumn: 'a' })).toMatch(/a text or a number/);
    await expect(
      read('f.jsonl', lines({ prompt: 'a', answer: 'b' }), { format: 'jsonl', promptColumn: 'a' }),
    ).rejects.toThrow('promptColumn');
    await expect(read('f.jsonl', two, { format: 'hotpot', template: '{q}' })).rejects.toThrow('template');
  });

  it('keeps quotes inside fields of TSV, which most programs do not quote', () => {
    const refuse = (message: string): never => {
      throw new Error(message);
    };
    expect(parseCsv('a\tb "c" d\n"e\tf"\tg', refuse, '\t')).toEqual([
      ['a', 'b "c" d'],
      ['e\tf', 'g'],
    ]);
    expect(() => parseCsv('"a" b\tc', refuse, '\t')).toThrow('line 1: expected a tab');
  });
});

describe('templates', () => {
  it('put content in place of names, and keep doubled braces', () => {
    expect(fillTemplate('{{"a": "{x}"}} {x y}', (name) => name.toUpperCase())).toBe('{"a": "X"} X Y');
    expect(fillTemplate('{x}', () => '$& {y}')).toBe('$& {y}');
    expect(namesIn('{{a}} {b}{c d}')).toEqual(['b', 'c d']);
  });
});

describe('files that are read as they are', () => {
  it('BIG-Bench Hard: listed options, two targets, or an answer', async () => {
    const task = (...examples: { input: string; target: string }[]) => JSON.stringify({ canary: 'x', examples });
    const lies = await read(
      'web_of_lies.json',
      task({ input: 'Question: A lies. Does A lie?', target: 'Yes' }, { input: 'Question: B', target: 'No' }),
    );
    expect(lies.format).toBe('bbh');
    expect(lies.questions[0]).toEqual({
      kind: 'choice',
      prompt: 'Question: A lies. Does A lie?',
      choices: ['No', 'Yes'],
      label: 1,
      answer: 'Yes',
    });
    const options = await read(
      'date.json',
      task(
        { input: 'Today?\nOptions:\n(A) 1\n(B) 2\n(C) 3', target: '(B)' },
        { input: 'Valid?\nOptions:\n- valid \n- invalid', target: 'invalid' },
        { input: 'Film?\nOptions:\n(A) Monsters\n(B) Inc', target: 'Monsters, Inc' },
      ),
    );
    expect(options.questions.map(({ choices, label }) => [choices, label])).toEqual([
      [['(A)', '(B)', '(C)'], 1],
      [['valid', 'invalid'], 1],
    ]);
    const sums = task(
      { input: '1 + 1 =', target: '2' },
      { input: '1 + 2 =', target: '3' },
      { input: '0', target: '0' },
    );
    expect((await read('sums.json', sums)).questions[0]).toEqual({ kind: 'answer', prompt: '1 + 1 =', answer: '2' });
  });

  it('The Geometry of Truth, and CommonClaim without claims that are neither', async () => {
    const cities = await read('cities.csv', 'statement,label,city\nThe city of Aba is in Nigeria.,1,Aba\n');
    expect(cities.format).toBe('true-false');
    expect(cities.questions).toEqual([
      {
        kind: 'choice',
        prompt:
          'Consider the following claim: The city of Aba is in Nigeria. Is this claim true or false. The claim is',
        choices: ['false', 'true'],
        label: 1,
        answer: 'true',
      },
    ]);
    const claims = ',examples,label,agreement\n0,A,False,0.5\n1,B,Neither,1.0\n2,C,True,1.0\n';
    expect((await read('claims.csv', claims)).questions.map(({ answer }) => answer)).toEqual(['false', 'true']);
    expect(await fault('bad.csv', 'statement,label\nA,maybe\n')).toMatch(/row 1: expected a label 0 or 1/);
  });

  it('samples of lm-evaluation-harness, of both layouts', async () => {
    const choices = {
      doc_id: 0,
      target: '1',
      arguments: {
        gen_args_0: { arg_0: 'Q: a\nAnswer:', arg_1: ' no' },
        gen_args_1: { arg_0: 'Q: a\nAnswer:', arg_1: ' yes' },
        gen_args_2: { arg_0: '', arg_1: ' no' },
        gen_args_3: { arg_0: '', arg_1: ' yes' },
      },
    };
    const generated = { doc_id: 1, target: '4', arguments: [['2 + 2 =', { until: ['\n'] }]] };
    const rolling = { doc_id: 2, target: '', arguments: [['Once upon a time']] };
    const { format, questions } = await read(
      's.jsonl',
      lines(choices, generated, { ...generated, filter: 'b' }, rolling),
    );
    expect(format).toBe('harness');
    expect(questions).toEqual([
      { kind: 'choice', prompt: 'Q: a\nAnswer:', choices: [' no', ' yes'], label: 1, answer: ' yes' },
      { kind: 'answer', prompt: '2 + 2 =', answer: '4' },
      { kind: 'text', prompt: 'Once upon a time' },
    ]);
    const winogrande = {
      doc_id: 0,
      target: '0',
      arguments: [
        ['a', ' c'],
        ['b', ' c'],
      ],
    };
    expect(await fault('s.jsonl', lines(winogrande))).toMatch(/row 1: its choices follow different contexts/);
    expect(await fault('s.jsonl', lines({ ...choices, target: '7' }))).toMatch(/row 1: expected a "target"/);
  });
});

describe.skipIf(!hasPeers)(`Parquet${unlessNoPeers}`, () => {
  const writer = () => import(pathToFileURL(join(peers, 'node_modules/hyparquet-writer/src/index.js')).href);

  it('is read like any other table, with integers of 64 bits and lists', async () => {
    const { parquetWriteBuffer } = await writer();
    const content = parquetWriteBuffer({
      columnData: [
        { name: 'question', data: ['Snow is', 'Coal is'], type: 'STRING' },
        {
          name: 'choices',
          data: [
            ['white', 'black'],
            ['white', 'black'],
          ],
        },
        { name: 'answer', data: [0n, 1n], type: 'INT64' },
      ],
    });
    const options = { promptColumn: 'question', choicesColumn: 'choices', answerColumn: 'answer', peers };
    const { questions } = await read('train-00000-of-00001.parquet', new Uint8Array(content), options);
    expect(questions.map(({ prompt, answer }) => [prompt, answer])).toEqual([
      ['Snow is', 'white'],
      ['Coal is', 'black'],
    ]);
    const torn = new Uint8Array(content).slice(0, 40);
    await expect(read('torn.parquet', torn, options)).rejects.toMatchObject({ code: 'ERR_DATASET' });
  });

  it('names the package that is missing', async () => {
    const alone = read('a.parquet', new TextEncoder().encode('PAR1'), { promptColumn: 'a', peers: folder });
    await expect(alone).rejects.toMatchObject({
      code: 'ERR_PEER',
      hint: expect.stringContaining('npm install hyparquet'),
    });
  });
});
