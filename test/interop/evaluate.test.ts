import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import type { ExampleResult, Question } from '../../lib/entries/evaluate.js';
import type { ScoreRequest } from '../../lib/evaluate/engines/engine.js';
import type { TokenSession } from '../../lib/evaluate/engines/token-session.js';
import { spawnLowrank } from '../support/cli.js';
import { temporaryFolder } from '../support/folder.js';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';
import { laserArguments } from './judge.js';
import { python, root, runPython, unlessNoPython } from './python.js';

const stories = join(root, '..', 'shared', 'data', 'models', 'stories260K');
const sample = join(root, '..', 'shared', 'data', 'datasets', 'tinystories_sample.txt');
const hasData = existsSync(stories) && existsSync(sample);
const unlessNoData = hasData ? '' : ' (skipped: ../shared/data is absent)';

/** The built package, since the engine `onnx` starts a file of it in a thread of its own. */
const built = async () =>
  (await import(
    pathToFileURL(join(root, 'dist', 'entries', 'evaluate.js')).href
  )) as typeof import('../../lib/entries/evaluate.js');

const folder = temporaryFolder();

describe.skipIf(!python || !hasPeers || !hasData)(
  `a trained Llama on two engines${unlessNoPython}${unlessNoPeers}${unlessNoData}`,
  () => {
    const choices: Question[] = [
      ['Once upon a time, there was a little', ['girl', 'boy', 'stone'], 0],
      ['Lily liked to play in the', ['park with her friends', 'sun', 'under'], 0],
      ['The dog was very', ['happy', 'happy and wanted to play'], 1],
    ].map(([prompt, list, label], id) => ({
      id,
      kind: 'choice',
      prompt: prompt as string,
      choices: list as string[],
      label: label as number,
      answer: (list as string[])[label as number]!,
    }));
    /** What llama said, what it was asked, and what NumPy says to the same. */
    let texts: Question[];
    let llama: { texts: ExampleResult[]; choices: ExampleResult[]; requests: Map<Question, ScoreRequest[]> };
    const reference = new Map<Question, number[][][]>();
    /** Tokens of each text, with BOS. */
    const tokens = new Map<Question, number[]>();

    beforeAll(async () => {
      const { Evaluator, llamaEngine, loadQuestions } = await built();
      texts = [...(await loadQuestions(sample)).questions];
      const evaluator = new Evaluator(llamaEngine({ threads: 1, peers }));
      try {
        const session = (await evaluator.engine.open(join(stories, 'stories260K-f32.gguf'))) as TokenSession;
        const { model } = session;
        // The requests are recorded on their way, so that NumPy is asked for the very same tokens.
        const asked: ScoreRequest[] = [];
        const score = model.score.bind(model);
        model.score = (requests, signal) => {
          asked.push(...requests);
          return score(requests, signal);
        };
        const requests = new Map<Question, ScoreRequest[]>();
        const ask = async (question: Question) => {
          asked.length = 0;
          const { results } = await evaluator.evaluate(session, [question], { top: 1 });
          requests.set(question, [...asked]);
          return results[0]!;
        };
        const results: { texts: ExampleResult[]; choices: ExampleResult[] } = { texts: [], choices: [] };
        for (const question of texts) {
          results.texts.push(await ask(question));
          tokens.set(question, [...model.prefix, ...(await model.encode([question.prompt]))[0]!]);
        }
        for (const question of choices) {
          results.choices.push(await ask(question));
          // Not those that were recorded: one for each choice, made here from the tokens of the
          // whole.
          const [prompt, ...whole] = await model.encode([
            question.prompt,
            ...question.choices!.map((said) => `${question.prompt} ${said}`),
          ]);
          const own = whole.map((all) => {
            expect(all.slice(0, prompt!.length)).toEqual(prompt);
            const sequence = [...model.prefix, ...all];
            const reads = all.slice(prompt!.length).map((token, i) => ({
              position: model.prefix.length + prompt!.length - 1 + i,
              targets: [token],
            }));
            return { tokens: sequence.slice(0, -1), reads, top: 0 };
          });
          requests.set(question, own);
        }
        llama = { ...results, requests };
      } finally {
        await evaluator.close();
      }
      const all = [...llama.requests];
      const [asked, answered] = [join(folder, 'requests.json'), join(folder, 'answers.json')];
      await writeFile(asked, JSON.stringify(all.flatMap(([, requests]) => requests)));
      await runPython('evaluate_reference.py', 'score', stories, asked, answered);
      const answers = JSON.parse(await readFile(answered, 'utf8')) as number[][][];
      for (const [question, requests] of all) reference.set(question, answers.splice(0, requests.length));
      expect(answers).toEqual([]);
    });

    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

    it('gives the perplexity of a forward pass in float64', async () => {
      const { summariseResults } = await built();
      const { perplexity } = await summariseResults(llama.texts);
      const logProb = sum(texts.map((question) => sum(reference.get(question)!.flat(2))));
      const count = sum(llama.texts.map(({ answerTokens }) => answerTokens!));
      expect(count).toBeGreaterThan(500);
      expect(perplexity!.value).toBeGreaterThan(1.5);
      expect(Math.abs(perplexity!.value - Math.exp(-logProb / count))).toBeLessThan(1e-3);
    });

    it('gives the log-probabilities of choices, of one token and of several', () => {
      const expected = choices.map((question) => reference.get(question)!.map((reads) => sum(reads.flat())));
      expect(reference.get(choices[1]!)!.map((reads) => reads.length)).not.toEqual([1, 1, 1]);
      for (const [i, { choiceLogProbs }] of llama.choices.entries()) {
        expect(choiceLogProbs).toHaveLength(expected[i]!.length);
        for (const [k, value] of choiceLogProbs!.entries()) {
          expect(Math.abs(value - expected[i]![k]!)).toBeLessThan(1e-3);
        }
      }
    });

    it('is the same model as ONNX', async () => {
      const { Evaluator, onnxEngine } = await built();
      const out = join(folder, 'stories-onnx');
      await runPython('evaluate_reference.py', 'onnx', stories, out);
      const evaluator = new Evaluator(onnxEngine({ threads: 1, peers }));
      try {
        // The tokens of llama.cpp's tokenizer, spelled out; the first is BOS, and is not scored.
        const spelled = texts.map((question) => ({
          ...question,
          prompt: tokens
            .get(question)!
            .map((token) => `t${token}`)
            .join(' '),
        }));
        const { results } = await evaluator.evaluate(out, spelled);
        for (const [i, result] of results.entries()) {
          const theirs = llama.texts[i]!;
          expect(result.answerTokens).toBe(theirs.answerTokens);
          expect(Math.abs(result.answerLogProb! - theirs.answerLogProb!) / result.answerTokens!).toBeLessThan(1e-3);
        }
      } finally {
        await evaluator.close();
      }
    });
  },
);

describe.skipIf(!python || !hasPeers)(`the example model on three engines${unlessNoPython}${unlessNoPeers}`, () => {
  const example = join(root, 'examples', 'noisy-recall');
  const forms = { command: 'model', llama: 'gguf/model.gguf', onnx: 'model/model.onnx' } as const;
  const ending = { command: '', llama: '.gguf', onnx: '' } as const;
  type Form = keyof typeof forms;
  const names = Object.keys(forms) as Form[];

  async function answers(form: Form, checkpoint: string): Promise<ExampleResult[]> {
    const { commandEngine, Evaluator, llamaEngine, loadQuestions, onnxEngine } = await built();
    const command = [python!, join(example, 'score.py'), '{checkpoint}', '{questions}'];
    const engines = {
      command: () => commandEngine({ command, threads: 1 }),
      llama: () => llamaEngine({ threads: 1, peers }),
      onnx: () => onnxEngine({ threads: 1, peers }),
    };
    const { questions } = await loadQuestions(join(example, 'validation.jsonl'));
    const evaluator = new Evaluator(engines[form]());
    try {
      return [...(await evaluator.evaluate(checkpoint, questions, { limit: 200 })).results];
    } finally {
      await evaluator.close();
    }
  }

  /** All three say the same, question by question. */
  async function agree(checkpoint: (form: Form) => string): Promise<{ correct: number }> {
    const { command, llama, onnx } = Object.fromEntries(
      await Promise.all(names.map(async (form) => [form, await answers(form, checkpoint(form))])),
    ) as Record<Form, ExampleResult[]>;
    expect(command).toHaveLength(200);
    const draws = new Set<number>();
    for (const [i, one] of command.entries()) {
      // llama.cpp looks GELU up in a table of float16; the other two differ by the order of their
      // sums.
      for (const [other, tolerance] of [
        [llama[i]!, 5e-3],
        [onnx[i]!, 1e-4],
      ] as const) {
        expect(other).toMatchObject({ id: one.id, answerTokens: 1 });
        expect(Math.abs(other.answerLogProb! - one.answerLogProb!)).toBeLessThan(tolerance);
        // What differs by less than the engines do is a draw, and may fall either way.
        const [first, second] = one.top!;
        if (first!.logProb - second!.logProb < tolerance) draws.add(one.id);
        else expect([other.id, other.correct, other.prediction]).toEqual([one.id, one.correct, one.prediction]);
      }
    }
    expect(draws.size).toBeLessThan(20);
    return { correct: command.filter((result) => result.correct).length };
  }

  it('agrees on the base model', async () => {
    const { correct } = await agree((form) => join(example, forms[form]));
    expect(correct).toBeGreaterThan(60);
    expect(correct).toBeLessThan(100);
  });

  it('agrees on the model that lowrank edited in each of its forms', async () => {
    const out = (form: Form) => join(folder, `edited-${form}${ending[form]}`);
    for (const form of names) {
      const job = { input: join(example, forms[form]), edits: [{ layers: '1', type: 'fc_in', rho: '0.01' }] };
      const run = await spawnLowrank(laserArguments(job, out(form)));
      expect(run, run.stderr).toMatchObject({ code: 0 });
    }
    const { correct } = await agree(out);
    expect(correct).toBeGreaterThan(190);
    // The graph's weights are those of model.safetensors, so an edit of either form is one of both.
    for (const file of ['model.safetensors', 'model.onnx']) {
      const [one, other] = await Promise.all([out('command'), out('onnx')].map((path) => readFile(join(path, file))));
      expect(one!.equals(other!)).toBe(true);
    }
  });

  it('is written by the scripts as it is committed', async () => {
    const run = promisify(execFile);
    const made = join(folder, 'made.gguf');
    await run(python!, [join(example, 'to_gguf.py'), join(example, 'model'), made]);
    expect((await readFile(made)).equals(await readFile(join(example, forms.llama)))).toBe(true);
    const copy = join(folder, 'graphless');
    await cp(join(example, 'model'), copy, { recursive: true });
    await rm(join(copy, 'model.onnx'));
    await run(python!, [join(example, 'to_onnx.py'), copy]);
    expect((await readFile(join(copy, 'model.onnx'))).equals(await readFile(join(example, forms.onnx)))).toBe(true);
  });
});

describe.skipIf(!python || !hasPeers)(`a masked model on ONNX${unlessNoPython}${unlessNoPeers}`, () => {
  it('gives the log-probabilities of PyTorch for masks of one word and of two', async () => {
    const [out, dataset, answered] = ['bert', 'masks.jsonl', 'masks.json'].map((name) => join(folder, name));
    const rows = Array.from({ length: 20 }, (_, i) => ({
      prompt: `w${i} w${(i * 7) % 40} <mask> w${(i * 11) % 40}${i % 3 === 0 ? ' w5' : ''}`,
      choices: [`w${(i * 3) % 40}`, `w${(i * 5) % 40} w${i}`, 'w1'],
      label: i % 3,
    }));
    await writeFile(dataset!, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    await runPython('evaluate_masked.py', out!, dataset!, answered!);
    const expected = JSON.parse(await readFile(answered!, 'utf8')) as number[][];
    const { Evaluator, loadQuestions, onnxEngine } = await built();
    const evaluator = new Evaluator(onnxEngine({ threads: 1, peers }));
    try {
      const { results } = await evaluator.evaluate(out!, (await loadQuestions(dataset!)).questions, {
        compat: 'laser',
      });
      expect(results.map(({ choiceLogProbs }) => choiceLogProbs)).toEqual(
        expected.map((values) => values.map((value) => expect.closeTo(value, 4))),
      );
      // Not all the same, or nothing would have been seen.
      expect(new Set(results.map(({ prediction }) => prediction)).size).toBeGreaterThan(3);
      expect(results.map(({ answerTokens }) => answerTokens)).toEqual(rows.map(({ label }) => (label === 1 ? 3 : 2)));
    } finally {
      await evaluator.close();
    }
  });
});
