import { existsSync } from 'node:fs';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { open } from '../../lib/checkpoint/open.js';
import { singularValuesSync } from '../../lib/linalg/svd.js';
import { readSearchLog } from '../../lib/search/log.js';
import type { SearchSummary, Trial } from '../../lib/search/log-lines.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';
import { changedTensors, filesIn } from '../support/checkpoints.js';
import { lowrank, spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';
import { assembled } from '../support/gguf.js';
import { FC_IN, inputOf, linearQuestions, P, writeLinearModel } from '../support/linear-model.js';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const inFolder = temporaryPaths();
let model = '';
let command = '';
let dataset: string[] = [];

/** Answers as the model of test/unit/search/linear-model.ts does, in a process of its own. */
const PROGRAM = `
import { readFileSync } from 'node:fs';
import { openCheckpoint } from ${JSON.stringify(pathToFileURL(join(root, 'dist', 'entries', 'checkpoint.js')).href)};
const [checkpointPath, questionsPath, vectorsPath] = process.argv.slice(2);
const { p, inputs } = JSON.parse(readFileSync(vectorsPath, 'utf8'));
const checkpoint = await openCheckpoint(checkpointPath);
const read = async (name) => {
  const bytes = await checkpoint.read(name);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
};
const layers = [];
for (const layer of [0, 1]) {
  const at = 'model.layers.' + layer + '.mlp.';
  layers.push([await read(at + 'down_proj.weight'), await read(at + 'gate_proj.weight')]);
}
await checkpoint.close();
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const times = (w, x) => Array.from({ length: w.length / x.length }, (_, i) => dot(x, w.subarray(i * x.length)));
for (const line of readFileSync(questionsPath, 'utf8').trim().split('\\n')) {
  const { id, prompt } = JSON.parse(line);
  const x = inputs[prompt];
  const odds = 2 * layers.reduce((sum, [out, into]) => sum + dot(p, times(out, times(into, x))), 0);
  const log = (z) => -Math.log1p(Math.exp(-z));
  console.log(JSON.stringify({ id, choiceLogProbs: [log(-odds), log(odds)], answerTokens: 1 }));
}
`;

beforeAll(async () => {
  model = await writeLinearModel(inFolder('model'));
  const questions = await linearQuestions(model, 300);
  const inputs = Object.fromEntries(questions.map(({ id, prompt }) => [prompt, [...inputOf(id)]]));
  await writeFile(inFolder('vectors.json'), JSON.stringify({ p: [...P], inputs }));
  await writeFile(inFolder('answer.mjs'), PROGRAM);
  const lines = (part: typeof questions) =>
    part.map(({ prompt, choices, label }) => `${JSON.stringify({ prompt, choices, label })}\n`).join('');
  await writeFile(inFolder('validation.jsonl'), lines(questions.slice(0, 120)));
  await writeFile(inFolder('test.jsonl'), lines(questions.slice(120)));
  command = `"${process.execPath}" "${inFolder('answer.mjs')}" {checkpoint} {questions} "${inFolder('vectors.json')}"`;
  dataset = ['--dataset', inFolder('validation.jsonl'), '--test', inFolder('test.jsonl')];
});

const grid = ['--layers', 'all', '--types', 'fc_in,fc_out', '--rhos', '0.1,0.5', '--cache', '0'];

const argumentsFor = (out: string) => ['search', model, ...dataset, '-o', out, '--command', command, ...grid];

/** Does what the search chose once more, with the command that edits. */
async function expectWrittenAsByLaser({ settings, interventions, model: found }: SearchSummary, out: string) {
  const at = interventions.flatMap(({ spec }) => ['--at', spec]);
  const kind = ['--intervention', interventions[0]!.kind, '--seed', String(settings.seed)];
  const quant = settings.quant === undefined ? [] : ['--quant', settings.quant];
  const done = await lowrank(['laser', settings.source.path, '-o', out, ...at, ...kind, ...quant]);
  expect(done).toMatchObject({ code: 0 });
  const bytes = async (path: string) =>
    (await stat(path)).isDirectory() ? await filesIn(path) : new Map([['', await readFile(path)]]);
  const [written, edited] = [await bytes(found!), await bytes(out)];
  expect([...written.keys()]).toEqual([...edited.keys()]);
  for (const [name, content] of written) expect(Buffer.compare(content, edited.get(name)!), name).toBe(0);
}

async function trialsOf(out: string) {
  const lines = await readSearchLog(out);
  return lines.flatMap((line) => {
    if (line.line !== 'trial') return [];
    const { seconds: _, ...trial }: Trial = line;
    return [trial];
  });
}

describe('lowrank search', () => {
  it('finds the intervention with a program as the engine, and resumes after Ctrl-C and after a kill', async () => {
    const before = await filesIn(model);
    const straight = await lowrank([...argumentsFor(inFolder('straight')), '--json']);
    expect(straight).toMatchObject({ code: 0 });
    const summary = JSON.parse(straight.stdout) as SearchSummary;
    expect(summary.interventions.map(({ spec }) => spec)).toEqual(['1:fc_in:0.1']);
    expect(summary.comparisons[0]).toMatchObject({ metric: 'accuracy', pairs: 180 });
    expect(summary.comparisons[0]!.low).toBeGreaterThan(0);
    expect(summary.counts).toMatchObject({ trials: 8, svds: { computed: 4, disk: 0, memory: 4 } });
    expect(await changedTensors(model, summary.model!)).toEqual([FC_IN(1)]);
    await expectWrittenAsByLaser(summary, inFolder('by-laser'));
    expect(straight.stderr).toMatch(/grid 2\/8 1:fc_in:0.5: \d/);
    expect(summary.command!.slice(0, 2)).toEqual(['lowrank', 'search']);

    const out = inFolder('stopped');
    const interrupted = await stoppedAt(out, 'grid 2/8', 'SIGINT');
    expect(interrupted.code).toBe(130);
    expect(interrupted.stderr).toContain('Run the same command again');
    expect(existsSync(join(out, '.candidate'))).toBe(false);
    const killed = await stoppedAt(out, 'grid 5/8', 'SIGKILL');
    expect(killed.signal).toBe('SIGKILL');
    expect(killed.stderr).toContain('from the log');
    // What a kill leaves in the way of the next run: the candidate.
    expect(existsSync(join(out, '.candidate'))).toBe(true);

    const last = await lowrank(argumentsFor(out));
    expect(last.code).toBe(0);
    expect(last.stdout).toContain('1:fc_in:0.1');
    expect(last.stdout).toMatch(/test accuracy \+\d+\.\d+ points, 95 % interval \+/);
    expect(last.stderr.match(/from the log/g)!.length).toBeGreaterThanOrEqual(6);
    expect(await trialsOf(out)).toEqual(await trialsOf(inFolder('straight')));
    expect((await readdir(out)).sort()).toEqual(['model', 'report.html', 'summary.json', 'trials.jsonl']);
    for (const [name, bytes] of await filesIn(join(out, 'model'))) {
      expect(Buffer.compare(bytes, await readFile(join(summary.model!, name)))).toBe(0);
    }
    const after = await filesIn(model);
    expect([...after.keys()]).toEqual([...before.keys()]);
    for (const [name, bytes] of after) expect(Buffer.compare(bytes, before.get(name)!)).toBe(0);
  });

  it('writes the bytes of the editing command, also for composed interventions', async () => {
    for (const flags of [
      ['--compose', 'greedy', '--seed', '7'],
      ['--kinds', 'random', '--seed', '3', '--rhos', '0.1,0.9', '--layers', '1'],
      ['--kinds', 'dropout', '--rhos', '0.5,0.9', '--layers', '1'],
    ]) {
      const name = flags.join('');
      const done = await lowrank([...argumentsFor(inFolder(name)), ...flags, '--json']);
      expect(done).toMatchObject({ code: 0 });
      const summary = JSON.parse(done.stdout) as SearchSummary;
      expect(summary.interventions.length).toBeGreaterThan(0);
      await expectWrittenAsByLaser(summary, inFolder(`${name}-by-laser`));
    }
  });

  /** Runs until a line about a trial is said, then sends a signal. */
  function stoppedAt(out: string, said: string, signal: NodeJS.Signals) {
    let sent = false;
    return spawnLowrank(argumentsFor(out), {
      onStderr: (soFar, kill) => {
        if (sent || !soFar.includes(said)) return;
        // Once: a second Ctrl-C would end the process at once.
        sent = true;
        kill(signal);
      },
    });
  }

  it('does not search with an engine that would run another model of the folder', async () => {
    const out = inFolder('mismatch');
    const { code, stderr } = await lowrank(['search', join(recall, 'model'), ...dataset, '-o', out, '--cache', '0']);
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /its safetensors weights would be edited, but the engine onnx runs \.onnx files[\s\S]*hint: /,
    );
    expect(existsSync(out)).toBe(false);
  });

  it('names faults in its options', async () => {
    const wrong = async (...flags: string[]) => {
      const { code, stderr } = await lowrank([...argumentsFor(inFolder('wrong')), ...flags]);
      expect(existsSync(inFolder('wrong'))).toBe(false);
      return { code, stderr };
    };
    for (const [flags, message] of [
      [['--layers', '5-2'], '--layers'],
      [['--types', 'fc_sideways'], 'fc_in'],
      [['--rhos', '0.1,2'], '0 to 1'],
      [['--kinds', 'top'], 'rank-reduction'],
      [['--bands', '0.5-0.1'], 'the smaller first'],
      [['--bands', '0-0.2'], '--bands requires --kinds band'],
      [['--test', inFolder('validation.jsonl')], 'are also validation questions'],
      [['--budget', 'soon'], '10m'],
    ] as const) {
      const { code, stderr } = await wrong(...flags);
      expect(code).toBe(2);
      expect(stderr).toContain(message);
    }
    expect(await wrong('--layers', '9')).toMatchObject({ code: 1 });
  });
});

const recall = join(root, 'examples', 'noisy-recall');

describe.skipIf(!hasPeers)(`lowrank search with engines in Node${unlessNoPeers}`, () => {
  it.each([
    ['llama', join(recall, 'gguf', 'model.gguf')],
    ['onnx', join(recall, 'model', 'model.onnx')],
  ])('%s finds what repairs the example model', async (engine, checkpoint) => {
    const out = inFolder(`recall-${engine}`);
    const data = ['--dataset', join(recall, 'validation.jsonl'), '--test', join(recall, 'test.jsonl')];
    const few = ['--layers', '1', '--types', 'fc_in', '--rhos', '0.01,0.2', '--limit', '200', '--cache', '0'];
    const run = await spawnLowrank(['search', checkpoint, ...data, '-o', out, ...few, '--json'], {
      env: { NODE_PATH: join(peers, 'node_modules') },
    });
    expect(run.stderr).not.toContain('error:');
    const summary = JSON.parse(run.stdout) as SearchSummary;
    expect(summary.settings.engine).toBe(engine);
    expect(summary.interventions.map(({ spec }) => spec)).toEqual(['1:fc_in:0.01']);
    expect(summary.comparisons[0]!.low).toBeGreaterThan(0.4);
    expect(summary.edited!.accuracy).toBeGreaterThan(0.97);
    expect(await changedTensors(checkpoint, summary.model!)).toHaveLength(1);
    // Of an ONNX model the folder is written, with the safetensors that hold its weights.
    expect(engine === 'onnx' ? dirname(dirname(summary.model!)) : dirname(summary.model!)).toBe(out);
  });

  it('searches a quantised model, in the type of choice', async () => {
    const folder = join(recall, 'gguf');
    const source = await open(join(folder, 'model.gguf'));
    const name = 'blk.1.ffn_up.weight';
    const q8 = fromFloat32(toFloat32(await source.read(name), 'F32'), 'Q8_0');
    const files = await assembled(source, folder, new Map([[name, 'Q8_0']]), new Map([[name, q8]]));
    await source.close();
    const quantised = inFolder('q8.gguf');
    await writeFile(quantised, files.get('model.gguf')!);

    const data = ['--dataset', join(recall, 'validation.jsonl'), '--test', join(recall, 'test.jsonl')];
    const few = ['--layers', '1', '--types', 'fc_in', '--rhos', '0.01', '--limit', '100', '--cache', '0', '--json'];
    const out = inFolder('recall-q8');
    const run = (...flags: string[]) =>
      spawnLowrank(['search', quantised, ...data, '-o', out, ...few, ...flags], {
        env: { NODE_PATH: join(peers, 'node_modules') },
      });
    const refused = await run();
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('--quant');
    expect(existsSync(out)).toBe(false);

    const done = await run('--quant', 'F16');
    expect(done.code).toBe(0);
    const summary = JSON.parse(done.stdout) as SearchSummary;
    expect(summary.interventions.map(({ spec }) => spec)).toEqual(['1:fc_in:0.01']);
    expect(summary.settings.quant).toBe('F16');
    await expectWrittenAsByLaser(summary, inFolder('recall-q8-by-laser.gguf'));
    const model = await open(summary.model!);
    expect(model.tensors.get(name)!.dtype).toBe('F16');
    const w = { data: toFloat32(await model.read(name), 'F16'), shape: model.tensors.get(name)!.shape };
    await model.close();
    // Rank 1, but for the rounding to F16.
    const s = singularValuesSync(w).data;
    expect(s[1]! / s[0]!).toBeLessThan(1e-3);
    expect((await readdir(out)).sort()).toEqual(['model.gguf', 'report.html', 'summary.json', 'trials.jsonl']);
  });
});
