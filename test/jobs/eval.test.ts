import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { editCheckpoint, openCheckpoint } from '../../lib/entries/checkpoint.js';
import type { ExampleResult } from '../../lib/entries/evaluate.js';
import { lowrank, spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const example = join(root, 'examples', 'noisy-recall');

const at = temporaryPaths();
let dataset: string;
let command: string;

/**
 * Ten questions, and a program that knows those of an even number; it waits where it is told to.
 */
beforeAll(async () => {
  dataset = at('questions.jsonl');
  const rows = Array.from({ length: 10 }, (_, i) => ({ prompt: `${i}?`, choices: ['no', 'yes'], label: 1 }));
  await writeFile(dataset, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const program = at('program.mjs');
  await writeFile(
    program,
    `import { readFileSync } from 'node:fs';
for (const line of readFileSync(process.argv[3], 'utf8').trim().split('\\n')) {
  const { id } = JSON.parse(line);
  console.log(JSON.stringify({ id, choiceLogProbs: id % 2 === 0 ? [-2, -1] : [-1, -2], answerTokens: 1 }));
}
console.log(JSON.stringify({ speed: 12 }));
if (process.argv[2].endsWith('slow')) setTimeout(() => {}, 60_000);
`,
  );
  command = `${process.execPath} ${program} {checkpoint} {questions}`;
});

describe('lowrank eval with a program', () => {
  it('prints a table and writes the results', async () => {
    const out = at('results.jsonl');
    const run = await lowrank(['eval', 'any', '--dataset', dataset, '--command', command, '--out', out]);
    expect(run, run.stderr).toMatchObject({ code: 0 });
    expect(run.stdout).toMatch(/^metric +value +95 % interval +examples\n/);
    expect(run.stdout).toMatch(/accuracy +50\.00 % +\d+\.\d\d % to \d+\.\d\d % +10\n/);
    expect(run.stdout).toMatch(/logLoss +1\.5000/);
    expect(run.stdout).toContain('speed: 12\n');
    expect(run.stdout).toContain('10 of 10 questions (all)');
    expect(run.stdout).toContain(`wrote ${out}`);
    expect(run.stderr).toContain('10/10 questions, 50.00 % correct (23.66 % to 76.34 %)');
    const lines = (await readFile(out, 'utf8')).trimEnd().split('\n');
    const results = lines.map((line) => JSON.parse(line) as ExampleResult);
    expect(results.map(({ id, correct }) => [id, correct])).toEqual(rowsOf((id) => id % 2 === 0));
    expect(results[1]).toMatchObject({ prompt: '1?', prediction: 'no', answerLogProb: -2 });
  });

  it('asks a table of any shape, worded by a template', async () => {
    const csv = at('own.csv');
    await writeFile(csv, 'id,statement,label\n0,a,1\n1,b,1\n2,c,0\n');
    const columns = ['--template', 'Q: {statement}\\nA:', '--answer-column', 'label', '--choices', 'no,yes'];
    const out = at('own-results.jsonl');
    const run = await lowrank(['eval', 'any', '--dataset', csv, ...columns, '--command', command, '--out', out]);
    expect(run, run.stderr).toMatchObject({ code: 0 });
    const results = (await readFile(out, 'utf8')).trimEnd().split('\n');
    const answers = results.map((line) => JSON.parse(line) as ExampleResult);
    expect(answers.map(({ prompt, answer }) => [prompt, answer])).toEqual([
      ['Q: a\nA:', 'yes'],
      ['Q: b\nA:', 'yes'],
      ['Q: c\nA:', 'no'],
    ]);
  });

  it('shows questions without asking them', async () => {
    const args = ['eval', 'any', '--dataset', dataset, '--command', 'absent-program {questions}', '--show', '2'];
    const run = await lowrank(args);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toBe(
      ['0', '1']
        .map(
          (id) => `question ${id} (choice)
  |${id}?|
scored after it:
  "no"
  "yes", right
correct if the right choice has the largest sum of log-probabilities

`,
        )
        .join(''),
    );
    const { stdout } = await lowrank([...args, '--json']);
    expect(JSON.parse(stdout)).toMatchObject([{ id: 0, choices: ['no', 'yes'] }, { id: 1 }]);
  });

  it('prints one JSON document and nothing else with --json, the same for the same seed', async () => {
    const args = ['eval', 'any', '--dataset', dataset, '--command', command, '--json', '--compat', 'laser'];
    const [first, second] = [await lowrank([...args, '--seed', '5']), await lowrank([...args, '--seed', '5'])];
    const report = JSON.parse(first.stdout);
    expect(report).toMatchObject({
      engine: 'command',
      dataset: { path: dataset, format: 'jsonl', questions: 10 },
      split: 'all',
      seed: 5,
      answered: 10,
      compat: 'laser',
      reported: { speed: 12 },
      summary: { accuracy: { value: 0.5, examples: 10 } },
      laser: { '0-1 correctness': 50, dataset_size: 10 },
    });
    expect({ ...JSON.parse(second.stdout), seconds: 0 }).toEqual({ ...report, seconds: 0 });
  });

  it('asks a part of the questions', async () => {
    const ask = async (...flags: string[]) => {
      const out = at(`part-${flags.join('')}.jsonl`);
      const run = await lowrank(['eval', 'any', '--dataset', dataset, '--command', command, '--out', out, ...flags]);
      expect(run, run.stderr).toMatchObject({ code: 0 });
      const lines = (await readFile(out, 'utf8')).trimEnd().split('\n');
      return lines.map((line) => (JSON.parse(line) as ExampleResult).id);
    };
    expect(await ask('--split', 'validation')).toEqual([0, 1]);
    expect(await ask('--split', 'test', '--limit', '3')).toEqual([2, 3, 4]);
    const [validation, test] = [
      await ask('--split', 'validation', '--seed', '1'),
      await ask('--split', 'test', '--seed', '1'),
    ];
    expect([...validation, ...test].sort()).toEqual(rowsOf(() => true).map(([id]) => id));
    expect(validation).not.toEqual([0, 1]);
  });

  it('exits with 2 for wrong usage and with 1 for failures, with a hint', async () => {
    const fails = async (code: number, pattern: RegExp, ...args: string[]) => {
      const run = await lowrank(['eval', ...args]);
      expect(run.code).toBe(code);
      expect(run.stderr).toMatch(pattern);
    };
    await fails(2, /--dataset/, 'any');
    await fails(2, /cannot tell which engine runs it[\s\S]*hint: llama runs \.gguf files/, 'any', '--dataset', dataset);
    await fails(2, /--engine command needs --command/, 'any', '--dataset', dataset, '--engine', 'command');
    await fails(2, /--context works only with/, 'a', '--dataset', dataset, '--command', command, '--context', '99');
    await fails(
      2,
      /--command works only with --engine command/,
      'a',
      '--dataset',
      dataset,
      '--engine',
      'onnx',
      '--command',
      'x',
    );
    await fails(
      1,
      /absent\.jsonl: cannot be read: ENOENT/,
      'any',
      '--dataset',
      at('absent.jsonl'),
      '--command',
      command,
    );
    await fails(1, /already exists/, 'any', '--dataset', dataset, '--command', command, '--out', dataset);
    await fails(1, /ended with 4/, 'any', '--dataset', dataset, '--command', `${process.execPath} -e process.exit(4)`);
  });

  it.skipIf(process.platform === 'win32')('stops at Ctrl-C, ends the program and writes nothing', async () => {
    const out = at('stopped.jsonl');
    let asked = false;
    const run = await spawnLowrank(['eval', 'slow', '--dataset', dataset, '--command', command, '--out', out], {
      onStderr: (soFar, kill) => {
        if (asked || !soFar.includes('10/10')) return;
        asked = true;
        kill('SIGINT');
      },
    });
    expect(run.code).toBe(130);
    expect(run.stderr).toContain('interrupted, nothing was written');
    expect(existsSync(out)).toBe(false);
  });

  // [signals sent one after another, how the process ends]
  it.skipIf(process.platform === 'win32').each([
    [['SIGINT'], { code: 130, signal: null }],
    [['SIGINT', 'SIGINT'], { code: null, signal: 'SIGINT' }],
    [['SIGTERM'], { code: null, signal: 'SIGTERM' }],
    [['SIGHUP'], { code: null, signal: 'SIGHUP' }],
  ] as const)('leaves nothing that a stubborn program started after %s', async (signals, end) => {
    const pids = at(`pids-${signals.join('-')}`);
    const stubborn = at(`stubborn-${signals.join('-')}.cjs`);
    const child = "process.on('SIGTERM', () => {}); process.on('SIGHUP', () => {}); setTimeout(() => {}, 60_000);";
    await writeFile(
      stubborn,
      `${child}
       const { pid } = require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(child)}], { stdio: 'inherit' });
       require('node:fs').writeFileSync(${JSON.stringify(pids)}, process.pid + ' ' + pid);
       for (let id = 0; id < 10; id++) console.log(JSON.stringify({ id, correct: true }));`,
    );
    const begin = performance.now();
    let sent = 0;
    const started = (soFar: string) => soFar.includes('10/10') && (sent === 0 || soFar.includes('again'));
    const run = await spawnLowrank(
      ['eval', 'any', '--dataset', dataset, '--command', `${process.execPath} ${stubborn}`],
      {
        onStderr: (soFar, kill) => {
          if (sent < signals.length && started(soFar)) kill(signals[sent++]!);
        },
      },
    );
    expect(run, run.stderr).toMatchObject(end);
    expect(performance.now() - begin).toBeLessThan(20_000);
    for (const pid of (await readFile(pids, 'utf8')).split(' ')) {
      await vi.waitFor(() => expect(isRunning(Number(pid))).toBe(false));
    }
  });
});

/** A process that has ended and that nobody has buried runs no longer. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return process.platform !== 'linux' || !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

describe.skipIf(!hasPeers)(`lowrank eval on an engine${unlessNoPeers}`, () => {
  const evaluate = (model: string, ...flags: string[]) =>
    spawnLowrank(['eval', join(example, model), '--dataset', join(example, 'validation.jsonl'), '--json', ...flags], {
      cwd: peers,
    });

  it.each([
    ['llama', 'gguf/model.gguf'],
    ['llama', 'gguf'],
    ['onnx', 'model'],
    ['onnx', 'model/model.onnx'],
  ])('%s runs %s, and the process ends by itself', async (engine, model) => {
    const run = await evaluate(model);
    expect(run, run.stderr).toMatchObject({ code: 0 });
    const { summary, answered, ...report } = JSON.parse(run.stdout);
    expect([report.engine, answered]).toEqual([engine, 400]);
    // What the example's README says of the base model.
    expect(summary.accuracy.value).toBeCloseTo(0.4, 2);
    expect(summary.meanLogProb.value).toBeCloseTo(-0.728, 2);
    expect(summary.top10.value).toBe(1);
  });

  it.each(['gguf/model.gguf', 'model/model.onnx'])('generates with %s', async (model) => {
    const run = await evaluate(model, '--generate', '1', '--limit', '20');
    expect(run, run.stderr).toMatchObject({ code: 0 });
    const { summary } = JSON.parse(run.stdout);
    expect(summary.exactMatch.examples).toBe(20);
    expect(summary.exactMatch.value).toBeCloseTo(summary.accuracy.value, 10);
    expect(summary.exactMatch.value).toBeCloseTo(summary.top1.value, 10);
  });

  it('ends a generation at each of the tokens that the model names for it', async () => {
    const folder = at('ending');
    await cp(join(example, 'model'), folder, { recursive: true });
    const { model } = JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8'));
    const generated = async (out: string) => {
      const data = [
        '--dataset',
        join(example, 'validation.jsonl'),
        '--limit',
        '3',
        '--generate',
        '1',
        '--out',
        at(out),
      ];
      const run = await spawnLowrank(['eval', join(folder, 'model.onnx'), ...data], { cwd: peers });
      expect(run, run.stderr).toMatchObject({ code: 0 });
      const rows = (await readFile(at(out), 'utf8')).trimEnd().split('\n');
      return rows.map((row) => (JSON.parse(row) as ExampleResult).generation!.trim());
    };
    const [first, ...others] = await generated('going.jsonl');
    const eos_token_id = [64, model.vocab[first!]];
    await writeFile(join(folder, 'generation_config.json'), JSON.stringify({ eos_token_id }));
    expect(await generated('ended.jsonl')).toEqual(['', ...others.map((word) => (word === first ? '' : word))]);
  });

  it('names files that an engine cannot load', async () => {
    const run = await spawnLowrank(['eval', dataset, '--engine', 'llama', '--dataset', dataset], { cwd: peers });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain('llama.cpp cannot load it');
    const onnx = await spawnLowrank(['eval', dataset, '--engine', 'onnx', '--dataset', dataset], { cwd: peers });
    expect(onnx.code).toBe(1);
    expect(onnx.stderr).toContain('tokenizer.json');
  });

  it("adds the tokenizer's prefix to a prompt, but not its suffix", async () => {
    const tokenizer = JSON.parse(await readFile(join(example, 'model', 'tokenizer.json'), 'utf8'));
    const [begin, text, end] = [
      { SpecialToken: { id: 'ant', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: 'ape', type_id: 0 } },
    ];
    const losses = [];
    const short = at('short.jsonl');
    await writeFile(
      short,
      ['elk', 'fox hen'].map((answer) => `${JSON.stringify({ prompt: 'bee cat', answer })}\n`).join(''),
    );
    for (const [i, single] of [[text], [text, end], [begin, text], [begin, text, end]].entries()) {
      const folder = at(`framed-${i}`);
      await cp(join(example, 'model'), folder, { recursive: true });
      const known = Object.fromEntries(['ant', 'ape'].map((id, token) => [id, { id, ids: [token], tokens: [id] }]));
      const post_processor = { type: 'TemplateProcessing', single, pair: [], special_tokens: known };
      await writeFile(join(folder, 'tokenizer.json'), JSON.stringify({ ...tokenizer, post_processor }));
      const run = await spawnLowrank(['eval', join(folder, 'model.onnx'), '--dataset', short, '--json'], {
        cwd: peers,
      });
      expect(run, run.stderr).toMatchObject({ code: 0 });
      losses.push(JSON.parse(run.stdout).summary.logLoss.value);
    }
    const [bare, ended, begun, both] = losses;
    expect([ended, both]).toEqual([bare, begun]);
    expect(begun).not.toBe(bare);
  });

  it('takes the hidden states of a model for embeddings for no logits', async () => {
    const folder = at('embeddings');
    await cp(join(example, 'model'), folder, { recursive: true });
    // Its output `last_hidden_state` is one number a token: Unsqueeze(Cast(input_ids)).
    const graph =
      'CAgSADq2AQofCglpbnB1dF9pZHMSAWYiBENhc3QqCQoCdG8YAaABAgogEgFhIghDb25zdGFudCoRCgp2YWx1ZV9pbnRzQAKgAQcKJAoBZgoBYRIRbGFz' +
      'dF9oaWRkZW5fc3RhdGUiCVVuc3F1ZWV6ZRIBZ1odCglpbnB1dF9pZHMSEAoOCAcSCgoDEgFiCgMSAWxiKQoRbGFzdF9oaWRkZW5fc3RhdGUSFAoSCAES' +
      'DgoDEgFiCgMSAWwKAggBQgQKABAR';
    await writeFile(join(folder, 'model.onnx'), Buffer.from(graph, 'base64'));
    const run = await spawnLowrank(['eval', folder, '--dataset', join(example, 'validation.jsonl'), '--limit', '5'], {
      cwd: peers,
    });
    expect(run.code).toBe(1);
    expect(run.stderr).toContain('these are not logits');
  });

  it('reports if a folder has other weights, which an edit would change', async () => {
    const data = ['--dataset', join(example, 'validation.jsonl'), '--limit', '5'];
    const run = await spawnLowrank(['eval', join(example, 'model'), ...data], { cwd: peers });
    expect(run).toMatchObject({ code: 0 });
    expect(run.stderr).toMatch(
      /warning: evaluating the \.onnx model in .*; lowrank laser would edit model\.safetensors instead/,
    );
    for (const plain of ['model/model.onnx', 'gguf']) {
      expect((await spawnLowrank(['eval', join(example, plain), ...data], { cwd: peers })).stderr).not.toContain(
        'warning',
      );
    }
  });
});

describe.skipIf(!hasPeers)(`an open session${unlessNoPeers}`, () => {
  type Evaluate = typeof import('../../lib/entries/evaluate.js');
  const built = async () =>
    (await import(pathToFileURL(join(root, 'dist', 'entries', 'evaluate.js')).href)) as Evaluate;

  it.each(['llama', 'onnx'] as const)('reloads the weights from a changed file, with %s', async (name) => {
    const { Evaluator, llamaEngine, loadQuestions, onnxEngine } = await built();
    const [folder, file, tensor] =
      name === 'llama'
        ? ['gguf', 'model.gguf', 'blk.1.ffn_up.weight']
        : ['model', 'model.onnx', 'model.transformer.h.1.mlp.c_fc.weight'];
    await cp(join(example, folder), at(`swap-${name}`), { recursive: true });
    const [base, edited] = [at(`swap-${name}`, file), at(`edited-${name}`, file)];
    // A GGUF model is one file; an ONNX model with external data is its folder.
    if (name === 'llama') await mkdir(dirname(edited));
    const out = name === 'llama' ? edited : dirname(edited);
    await editCheckpoint(join(example, folder, file), out, { interventions: ['1:fc_in:0.01'] });
    const { questions } = await loadQuestions(join(example, 'validation.jsonl'));
    const evaluator = new Evaluator(
      name === 'llama' ? llamaEngine({ threads: 1, peers }) : onnxEngine({ threads: 1, peers }),
    );
    try {
      const session = await evaluator.engine.open(base);
      const limit = 60;
      const before = await evaluator.evaluate(session, questions, { limit });
      // One matrix of the edited file goes to its place in the other one.
      const checkpoint = await openCheckpoint(edited);
      const bytes = await checkpoint.read(tensor);
      const { file: weights, offset } = checkpoint.tensors.get(tensor)!;
      await checkpoint.close();
      const handle = await open(join(dirname(base), weights), 'r+');
      await handle.write(bytes, 0, bytes.length, offset);
      await handle.close();
      await session.reload();
      const swapped = await evaluator.evaluate(session, questions, { limit });
      const fresh = await evaluator.evaluate(edited, questions, { limit });
      expect(swapped.results).toEqual(fresh.results);
      expect(before.summary.accuracy!.value).toBeLessThan(0.6);
      expect(swapped.summary.accuracy!.value).toBeGreaterThan(0.9);
    } finally {
      await evaluator.close();
    }
  });

  it.each(['llama', 'onnx'] as const)('leaves the event loop free, and stops at an abort, with %s', async (name) => {
    const { Evaluator, llamaEngine, loadQuestions, onnxEngine } = await built();
    const model = join(example, name === 'llama' ? 'gguf/model.gguf' : 'model/model.onnx');
    const { questions } = await loadQuestions(join(example, 'test.jsonl'));
    const evaluator = new Evaluator(
      name === 'llama' ? llamaEngine({ threads: 1, peers }) : onnxEngine({ threads: 1, peers }),
    );
    try {
      let ticks = 0;
      const timer = setInterval(() => ticks++, 1);
      const controller = new AbortController();
      const evaluation = evaluator.evaluate(model, questions, {
        signal: controller.signal,
        onProgress: ({ done }) => done === 500 && controller.abort(new Error('enough')),
      });
      await expect(evaluation).rejects.toThrow('enough');
      clearInterval(timer);
      expect(ticks).toBeGreaterThan(20);
    } finally {
      await evaluator.close();
    }
  });
});

describe('lowrank eval without engines', () => {
  it('names the packages to install', async () => {
    const run = await lowrank(['eval', join(example, 'gguf/model.gguf'), '--dataset', dataset], { cwd: at() });
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/node-llama-cpp is not installed[\s\S]*hint: Install it: npm install node-llama-cpp/);
  });
});

function rowsOf(correct: (id: number) => boolean): [number, boolean][] {
  return Array.from({ length: 10 }, (_, id) => [id, correct(id)]);
}
