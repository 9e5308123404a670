import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { open } from '../../../lib/checkpoint/open.js';
import { editCheckpoint } from '../../../lib/edit/edit-checkpoint.js';
import { CheckpointError, LowRankError } from '../../../lib/errors.js';
import type { AskOptions, Engine, Session } from '../../../lib/evaluate/engines/engine.js';
import { judge } from '../../../lib/evaluate/engines/grade.js';
import type { Question } from '../../../lib/evaluate/questions/question.js';
import { searchReport } from '../../../lib/report/search-report.js';
import { readSearchLog } from '../../../lib/search/log.js';
import type { Trial } from '../../../lib/search/log-lines.js';
import type { SearchProgress } from '../../../lib/search/progress.js';
import { search } from '../../../lib/search/search.js';
import type { SearchOptions } from '../../../lib/search/settings.js';
import { fromFloat32, toFloat32 } from '../../../lib/tensor/convert.js';
import { changedTensors, digestsIn, readTensor } from '../../support/checkpoints.js';
import { temporaryPaths } from '../../support/folder.js';
import { assembled } from '../../support/gguf.js';
import {
  D,
  FC_IN,
  FC_OUT,
  LinearEngine,
  linearQuestions,
  logOdds,
  writeLinearModel,
} from '../../support/linear-model.js';
import { floats, graphProto, modelProto, nodeProto, tensorProto } from '../../support/onnx.js';

const inFolder = temporaryPaths();
let model = '';
let sourceBefore: unknown;
let validation: SearchOptions['validation'];
let test: SearchOptions['validation'];

beforeAll(async () => {
  model = await writeLinearModel(inFolder('model'));
  sourceBefore = await digestsIn(model);
  validation = { questions: await linearQuestions(model, 200), path: 'validation.jsonl' };
  test = { questions: await linearQuestions(model, 400, 200), path: 'test.jsonl' };
});

let runs = 0;
async function run(options: Partial<SearchOptions> = {}) {
  const engine = new LinearEngine();
  const out = options.out ?? inFolder(`out${++runs}`);
  const cache = { folder: inFolder(`cache${runs}`) };
  const all = { engine, validation, test, cache, ...options, out };
  const summary = await search(model, all);
  return { summary, out, engine: all.engine as LinearEngine, trials: await trialsOf(out) };
}

async function trialsOf(out: string): Promise<Trial[]> {
  return (await readSearchLog(out)).filter((line) => line.line === 'trial');
}

/** What of a trial does not depend on the clock. */
const timeless = ({ seconds: _, ...trial }: Trial) => trial;
const byName = (trials: readonly Trial[], spec: string) => trials.find(({ candidate }) => candidate?.spec === spec)!;

describe('search', () => {
  it('finds the truncation that the model was made for, and writes a model that answers as it was measured', async () => {
    const { summary, out, trials } = await run();
    expect(summary.interventions.map(({ spec }) => spec)).toEqual(['1:fc_in:0.1']);
    const [accuracy] = summary.comparisons;
    expect(accuracy).toMatchObject({ metric: 'accuracy', pairs: 400 });
    expect(accuracy!.low).toBeGreaterThan(0);
    expect(accuracy!.difference).toBeCloseTo(summary.edited!.accuracy! - summary.base!.accuracy!, 12);

    // Asked here, without the search: the same.
    const weights = new Map<string, Float32Array>();
    for (const name of [0, 1].flatMap((layer) => [FC_IN(layer), FC_OUT(layer)])) {
      weights.set(name, (await readTensor(summary.model!, name)).data);
    }
    const right = test!.questions.filter(({ id, label }) => logOdds(weights, id) > 0 === (label === 1)).length;
    expect(summary.edited!.accuracy).toBe(right / 400);

    expect(summary.model).toBe(join(out, 'model'));
    expect(await changedTensors(model, summary.model!)).toEqual([FC_IN(1)]);
    const { matrices } = byName(trials, '1:fc_in:0.1');
    expect(matrices[0]).toMatchObject({ tensor: FC_IN(1), rank: 1 });
    expect(matrices[0]!.relativeError).toBeCloseTo(matrices[0]!.smallestError!, 5);
    expect(await digestsIn(model)).toEqual(sourceBefore);
    expect((await readdir(out)).sort()).toEqual(['model', 'summary.json', 'trials.jsonl']);
    expect(JSON.parse(await readFile(join(out, 'summary.json'), 'utf8')).winner).toBe(summary.winner);
  });

  it('tries weights that several places of a graph use only on request, and records it', async () => {
    const folder = inFolder('graph');
    const names = [0, 1].flatMap((layer) => [FC_IN(layer), FC_OUT(layer)]);
    const initializers = await Promise.all(
      names.map(async (name) => {
        const { data, shape } = await readTensor(model, name);
        return tensorProto({ name, dims: shape, raw: floats(...data) });
      }),
    );
    const nodes = [...names, FC_IN(1)].map((name, i) =>
      nodeProto({ op: 'Gemm', name: `use${i}`, inputs: ['x', name], outputs: [`y${i}`], ints: { transB: 1 } }),
    );
    await mkdir(folder);
    await writeFile(join(folder, 'config.json'), JSON.stringify({ model_type: 'llama' }));
    await writeFile(join(folder, 'model.onnx'), modelProto(graphProto(nodes, initializers)));
    const options = { engine: new LinearEngine(), validation, test: test!, cache: { bytes: 0 } };
    await expect(search(folder, { ...options, out: inFolder('refused') })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
      hint: expect.stringContaining('--shared'),
    });

    const out = inFolder('shared');
    const summary = await search(folder, { ...options, out, shared: true });
    expect(summary.interventions.map(({ spec }) => spec)).toEqual(['1:fc_in:0.1']);
    const lines = await readSearchLog(out);
    expect(lines[0]).toMatchObject({ settings: { shared: true } });
    const trials = lines.filter((line) => line.line === 'trial');
    expect(byName(trials, '1:fc_in:0.1').matrices[0]).toMatchObject({ tensor: FC_IN(1), uses: 2 });
    expect(byName(trials, '0:fc_in:0.1').matrices[0]).not.toHaveProperty('uses');
    const page = searchReport(lines);
    expect(page).toContain('<span>--shared</span>');
    expect(page).toContain('>uses<');
  });

  it('chooses the same with and without early stopping, which asks a fraction of the questions', async () => {
    const stopped = await run();
    const all = await run({ earlyStopping: false });
    expect(stopped.summary.interventions).toEqual(all.summary.interventions);
    expect(stopped.summary.edited).toEqual(all.summary.edited);
    expect(all.summary.counts).toMatchObject({ stopped: 0, asked: 200 * (all.summary.counts.trials + 1) });
    expect(stopped.summary.counts.asked).toBeLessThan(0.6 * all.summary.counts.asked);
    for (const trial of stopped.trials) {
      const full = all.trials[trial.number]!;
      if (trial.verdict === 'complete') expect(trial.score).toEqual(full.score);
      // Whatever was stopped would not have won.
      else expect(full.score.accuracy).toBeLessThan(all.summary.winnerTrial.score.accuracy!);
      // Each answer that was given is the same.
      [...trial.outcomes].forEach((outcome, i) => {
        if (outcome !== '-') expect(outcome).toBe(full.outcomes[i]);
      });
    }
  });

  it('measures the change against the base on the same questions', async () => {
    const { trials } = await run();
    const [base] = trials as [Trial];
    const partial = trials.find(({ verdict }) => verdict === 'hopeless')!;
    const asked = [...partial.outcomes].flatMap((outcome, i) => (outcome === '-' ? [] : [i]));
    expect(asked).toHaveLength(partial.score.questions);
    const share = (outcomes: string) => asked.filter((i) => outcomes[i] === '1').length / asked.length;
    expect(partial.change.accuracy).toBeCloseTo(share(partial.outcomes) - share(base.outcomes), 12);
    const loss = asked.reduce((sum, i) => sum + base.losses![i]![0], 0) / asked.length;
    expect(partial.change.logLoss).toBeCloseTo(partial.score.logLoss! - loss, 9);
    expect(base.change).toEqual({ accuracy: 0, logLoss: 0, perplexity: 0 });
  });

  it('computes each decomposition once for all shares and kinds', async () => {
    const kinds = ['rank-reduction', 'bottom', 'band', 'random', 'dropout', 'zero'] as const;
    const cache = { folder: inFolder('shared-cache') };
    const options = { kinds, rhos: [0.1, 0.25, 0.5], earlyStopping: false, cache } as const;
    const { summary, out, trials } = await run(options);
    // 4 matrices; of each: 3 shares of rank reduction, bottom, random and dropout, 5 bands,
    // zeroing.
    expect(summary.counts.trials).toBe(4 * (3 * 4 + 5 + 1));
    expect(summary.counts.svds).toEqual({ computed: 4, disk: 0, memory: 4 * (3 * 3 + 5) - 4 });
    expect((await readSearchLog(out)).filter(({ line }) => line === 'matrix')).toHaveLength(4);
    const second = await run({ ...options, cache });
    expect(second.summary.counts.svds).toEqual({ computed: 0, disk: 4, memory: 4 * (3 * 3 + 5) - 4 });
    expect(second.trials.map(timeless)).toEqual(trials.map(timeless));

    // What was kept and what was taken away add up to the whole, for each kind by its own rule.
    const kept = (kind: string, spec: string) =>
      trials.find(({ candidate }) => candidate?.kind === kind && candidate.spec === spec)!.matrices[0]!;
    const top = kept('rank-reduction', '1:fc_in:0.25');
    expect(top.rank).toBe(D / 4);
    expect(top.keptEnergy + top.relativeError ** 2).toBeCloseTo(1, 5);
    const bottom = kept('bottom', '1:fc_in:0.25');
    const bands = ['0-0.2', '0.2-0.4', '0.4-0.6', '0.6-0.8', '0.8-1'].map((band) => kept('band', `1:fc_in:${band}`));
    expect(bands.reduce((sum, { keptEnergy }) => sum + keptEnergy, 0)).toBeCloseTo(1, 5);
    expect(bottom.keptEnergy).toBeLessThan(bands[3]!.keptEnergy + bands[4]!.keptEnergy);
    const random = kept('random', '1:fc_in:0.25');
    expect(random.keptEnergy).toBeGreaterThan(bottom.keptEnergy);
    expect(random.keptEnergy).toBeLessThanOrEqual(top.keptEnergy);
    expect(kept('zero', '1:fc_in')).toMatchObject({ keptEnergy: 0, relativeError: 1 });
  });

  it('lets the base win if nothing is better, and writes no model', async () => {
    const { summary, out } = await run({ layers: [1], types: ['fc_out'], rhos: [0, 0.1], compose: 'greedy' });
    expect(summary).toMatchObject({ winner: 0, interventions: [], model: undefined, comparisons: [], greedy: [] });
    expect(summary.base!.questions).toBe(400);
    expect(existsSync(join(out, 'model'))).toBe(false);
  });

  it('asks the test questions once, of the base and the winner', async () => {
    const asked = new Map<number, number>();
    const engine = new LinearEngine();
    engine.onAnswer = (id) => asked.set(id, (asked.get(id) ?? 0) + 1);
    const { out } = await run({ engine });
    const times = test!.questions.map(({ id }) => asked.get(id));
    expect(new Set(times)).toEqual(new Set([2]));
    // The same call afterwards reads what came out, and asks nobody.
    const before = engine.asked;
    const again = await run({ engine, out });
    expect(engine.asked).toBe(before);
    expect(again.summary.interventions.map(({ spec }) => spec)).toEqual(['1:fc_in:0.1']);
    // What a run left that was killed after its last line.
    for (const left of ['.candidate', '.converted']) await mkdir(join(out, left));
    expect((await run({ engine, out })).summary.interventions).toEqual(again.summary.interventions);
    expect((await readdir(out)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('refuses questions with equal ids, and a test of validation questions', async () => {
    const fails = (options: Partial<SearchOptions>) => expect(run(options)).rejects;
    const twice = { questions: [...validation.questions, ...validation.questions] };
    await fails({ validation: twice }).toMatchObject({ code: 'ERR_ARGUMENT', argument: 'validation' });
    await fails({ test: twice }).toMatchObject({ code: 'ERR_ARGUMENT', argument: 'test' });
    const again = validation.questions.slice(50).map((question) => ({ ...question, id: question.id + 1000 }));
    await fails({ test: { questions: again } }).toThrow('all 150 questions are also validation questions');
  });

  it('counts test questions that are also validation questions', async () => {
    const some = [...test!.questions.slice(0, 30), ...validation.questions.slice(0, 10)];
    const few = { layers: [1], types: ['fc_in'], rhos: [0.1] } as const;
    const { out, summary } = await run({ ...few, test: { questions: some } });
    expect(summary.settings.questions.test).toMatchObject({ count: 40, shared: 10 });
    expect(searchReport(await readSearchLog(out))).toContain(
      '10 of the 40 test questions are also validation questions',
    );
    const { summary: apart } = await run(few);
    expect(apart.settings.questions.test!.shared).toBeUndefined();
  });

  it('tries bands of the same components once', async () => {
    const bands = [
      [0, 0.001],
      [0.5, 0.501],
      [0, 0.25],
      [0, 0.2501],
      [0, 1],
    ] as const;
    const { trials } = await run({ layers: [1], types: ['fc_in'], kinds: ['band'], bands, earlyStopping: false });
    expect(trials.slice(1).map(({ candidate }) => candidate!.spec)).toEqual(['1:fc_in:0-0.001', '1:fc_in:0-0.25']);
  });

  it('writes the winner of a quantised model from the source, so that all else stays quantised', async () => {
    const folder = fileURLToPath(new URL('../../../examples/noisy-recall/gguf', import.meta.url));
    const names = ['blk.1.ffn_up.weight', 'blk.1.ffn_down.weight'] as const;
    const given = await open(join(folder, 'model.gguf'));
    const q8 = new Map<string, Uint8Array>();
    for (const name of names) q8.set(name, fromFloat32(toFloat32(await given.read(name), 'F32'), 'Q8_0'));
    const files = await assembled(given, folder, new Map(names.map((name) => [name, 'Q8_0'] as const)), q8);
    await given.close();
    const quantised = inFolder('q8.gguf');
    await writeFile(quantised, files.get('model.gguf')!);

    // Answers rightly once the first of the tensors has lost most of its energy.
    const norm = async (path: string) => Math.hypot(...(await readTensor(path, names[0])).data);
    const energy = await norm(join(folder, 'model.gguf'));
    const engine: Engine = {
      name: 'onnx',
      async open(checkpoint) {
        const session: Session = {
          checkpoint,
          async *ask(questions) {
            const odds = (await norm(checkpoint)) < 0.9 * energy ? 1 : -1;
            for (const question of questions) {
              const choiceLogProbs = [0, 1].map((i) => (i === question.label ? odds : -odds) - 2);
              yield judge(question, { choiceLogProbs, answerTokens: 1 });
            }
          },
          reload: async () => undefined,
          close: async () => undefined,
        };
        return session;
      },
      close: async () => undefined,
    };
    const grid = { layers: [1], types: ['fc_in', 'fc_out'], rhos: [0.01], quant: 'F16', threads: 1 } as const;
    const cache = { bytes: 0 };
    const found = await search(quantised, { engine, validation, test, out: inFolder('q8-out'), ...grid, cache });
    expect(found.interventions.map(({ spec }) => spec)).toEqual(['1:fc_in:0.01']);
    expect(found.edited!.accuracy).toBe(1);

    const edited = inFolder('q8-by-laser.gguf');
    await editCheckpoint(quantised, edited, { interventions: ['1:fc_in:0.01'], quant: 'F16', threads: 1 });
    expect(Buffer.compare(await readFile(found.model!), await readFile(edited))).toBe(0);
    const written = await open(found.model!);
    expect(names.map((name) => written.tensors.get(name)!.dtype)).toEqual(['F16', 'Q8_0']);
    await written.close();
    expect((await readdir(inFolder('q8-out'))).sort()).toEqual(['model.gguf', 'summary.json', 'trials.jsonl']);
  });

  it('leaves candidates aside that cannot be written', async () => {
    // Each candidate of this matrix has a NaN in it; all others can be tried.
    const broken = await writeLinearModel(inFolder('broken'));
    const file = join(broken, 'model.safetensors');
    const bytes = await readFile(file);
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + Number(bytes.readBigUInt64LE(0))));
    const start = 8 + Number(bytes.readBigUInt64LE(0)) + header[FC_IN(0)].data_offsets[0];
    bytes.writeUInt32LE(0x7fc00000, start);
    await writeFile(file, bytes);
    const out = inFolder('broken-out');
    const engine = new LinearEngine();
    const few = { layers: [0], types: ['fc_in', 'fc_out'], rhos: [0.5], earlyStopping: false } as const;
    await search(broken, { engine, validation, out, ...few, cache: { bytes: 0 } });
    const trials = await trialsOf(out);
    expect(trials.map(({ verdict }) => verdict)).toEqual(['complete', 'failed', 'complete']);
    expect(trials[1]!.problem).toContain(FC_IN(0));
    expect(trials[1]!.score.questions).toBe(0);
  });

  it('ends with its budget, and records it', async () => {
    const { summary } = await run({ budget: { trials: 5 } });
    expect(summary).toMatchObject({ ended: 'budget', counts: { trials: 5 } });
    const timed = await run({ budget: { seconds: 1e-6 } });
    expect(timed.summary).toMatchObject({ ended: 'budget', winner: 0, counts: { trials: 0 } });
  });

  it('reports its progress', async () => {
    const told: SearchProgress[] = [];
    const { trials } = await run({ onProgress: (progress) => told.push(progress), compose: 'greedy' });
    expect(told.flatMap(({ trial }) => (trial === undefined ? [] : [trial.number]))).toEqual(
      trials.map(({ number }) => number),
    );
    expect([...new Set(told.map(({ phase }) => phase))]).toEqual(['base', 'grid', 'greedy', 'test', 'write']);
    expect(told.at(-1)!.seconds).toBeGreaterThan(0);
  });
});

describe('the criterion', () => {
  /** The engine of the other tests, whose answers are seen through a filter. */
  function filtered(see: (session: Session) => Session): LinearEngine {
    const engine = new LinearEngine();
    const open = engine.open.bind(engine);
    engine.open = async (checkpoint) => see(await open(checkpoint));
    return engine;
  }

  it('is perplexity for texts, of which none is stopped early', async () => {
    // The texts' log-probabilities are those of the right answers.
    const texts = validation.questions.map(({ id, prompt }) => ({ id, kind: 'text' as const, prompt }));
    const engine = filtered((session) => ({
      ...session,
      async *ask(questions, options) {
        const choices = questions.map(({ id }) => validation.questions[id]!);
        for await (const { id, answerLogProb } of session.ask(choices, options)) {
          yield judge(texts[id]!, { answerLogProb: answerLogProb!, answerTokens: 2 });
        }
      },
    }));
    const { summary, trials } = await run({ engine, validation: { questions: texts }, test: undefined });
    expect(summary.settings).toMatchObject({ objective: 'perplexity', earlyStopping: undefined });
    expect(trials.every(({ verdict }) => verdict === 'complete')).toBe(true);
    const best = Math.min(...trials.map(({ score }) => score.perplexity!));
    expect(summary.winnerTrial.score.perplexity).toBe(best);
    expect(summary.winnerTrial.change.perplexity).toBeLessThan(0);
    const [base] = trials as [Trial];
    const tokens = base.losses!.reduce((sum, loss) => sum + loss![1], 0);
    const sum = base.losses!.reduce((total, loss) => total + loss![0] * loss![1], 0);
    expect(base.score.perplexity).toBeCloseTo(Math.exp(sum / tokens), 9);
    // Without test questions the winner is written all the same.
    expect(summary).toMatchObject({ base: undefined, edited: undefined, comparisons: [] });
    expect(existsSync(summary.model!)).toBe(true);
  });

  it("is a program's figure for the whole set, if it reports nothing else", async () => {
    const whole = (reported: Record<string, number>): LinearEngine =>
      filtered((session) => {
        let values: Record<string, number> = {};
        return {
          ...session,
          // biome-ignore lint/correctness/useYield: it answers no single question.
          async *ask(questions, options) {
            const { accuracy, logLoss } = await scoreOf(session, questions, options);
            values = { ...(reported.accuracy === 1 && { accuracy }), ...(reported.logLoss === 1 && { logLoss }) };
          },
          get reported() {
            return values;
          },
        };
      });
    const few = { layers: [1], rhos: [0.1, 0.4], earlyStopping: false } as const;
    const byQuestion = await run(few);
    const sets: Record<string, number>[] = [{ accuracy: 1, logLoss: 1 }, { logLoss: 1 }];
    for (const reported of sets) {
      // A part of the set cannot be compared then, so nothing is stopped early, though it is asked
      // for.
      const { summary, trials } = await run({ ...few, earlyStopping: true, engine: whole(reported) });
      expect(summary.interventions).toEqual(byQuestion.summary.interventions);
      expect(summary.edited!.logLoss).toBeCloseTo(byQuestion.summary.edited!.logLoss!, 9);
      expect(trials[1]!.score.questions).toBe(200);
      expect(trials[1]!.change.logLoss).toBeCloseTo(byQuestion.trials[1]!.change.logLoss!, 9);
    }
    await expect(run({ ...few, engine: whole({}) })).rejects.toMatchObject({ code: 'ERR_ENGINE' });
  });

  async function scoreOf(session: Session, questions: readonly Question[], options: AskOptions | undefined) {
    let [right, loss] = [0, 0];
    for await (const { correct, answerLogProb } of session.ask(questions, options)) {
      if (correct) right++;
      loss -= answerLogProb!;
    }
    return { accuracy: right / questions.length, logLoss: loss / questions.length };
  }
});

describe('greedy composition', () => {
  it('accepts interventions that do not hurt, from late to early, and ends at least as good as the best of the grid', async () => {
    const { summary, trials } = await run({ compose: 'greedy' });
    expect(summary.interventions.length).toBeGreaterThanOrEqual(3);
    expect(summary.interventions[0]!.spec).toBe('1:fc_in:0.1');
    const layers = summary.interventions.slice(1).map(({ layer }) => layer);
    expect(layers).toEqual([...layers].sort((a, b) => b - a));
    expect(summary.winnerTrial.score.accuracy).toBeGreaterThanOrEqual(summary.gridTrial.score.accuracy!);
    expect(summary.greedy.some(({ accepted }) => !accepted)).toBe(true);
    // The rule, held against the log: no step is worse than the one before it.
    let current = summary.gridTrial.score;
    for (const { accepted, score, upon } of trials.filter(({ stage }) => stage === 'greedy')) {
      expect(upon.length).toBeGreaterThan(0);
      if (!accepted) continue;
      expect(score.accuracy).toBeGreaterThanOrEqual(current.accuracy!);
      if (score.accuracy === current.accuracy) expect(score.logLoss).toBeLessThanOrEqual(current.logLoss!);
      current = score;
    }
    const changed = await changedTensors(model, summary.model!);
    expect(changed).toHaveLength(summary.interventions.length);
  });

  it('takes a harmful candidate back to the byte', async () => {
    // Zeroing layer 1's fc_out takes away all that the model knows: it must be tried on top of the
    // winner and go again.
    const out = inFolder('rollback');
    const states: string[] = [];
    const candidate = join(out, '.candidate', 'model', 'model.safetensors');
    const engine = new LinearEngine();
    const onProgress = ({ phase, trial }: SearchProgress) => {
      // When a trial of the greedy stage has ended, the files are what was accepted so far.
      if (phase === 'greedy' && trial !== undefined) states.push(digestNow(candidate));
    };
    const planted = {
      types: ['fc_in', 'fc_out'],
      layers: [1],
      rhos: [0.1],
      kinds: ['rank-reduction', 'zero'],
    } as const;
    const { summary, trials } = await run({ engine, out, onProgress, ...planted, compose: 'greedy' });
    const greedy = trials.filter(({ stage }) => stage === 'greedy');
    expect(greedy.map(({ candidate, accepted }) => [candidate!.kind, candidate!.spec, accepted])).toEqual([
      ['rank-reduction', '1:fc_out:0.1', false],
      ['zero', '1:fc_out', false],
    ]);
    expect(greedy.every(({ score, rival }) => rival === summary.winner && score.questions > 0)).toBe(true);
    // After each harmful trial the candidate's file is, byte for byte, the model with the winner
    // alone.
    const winner = createHash('sha256')
      .update(await readFile(join(summary.model!, 'model.safetensors')))
      .digest('hex');
    expect(states).toEqual([winner, winner]);
  });
});

describe('going on', () => {
  it('comes to the same result however often it is stopped, and tries nothing twice', async () => {
    const straight = await run({ compose: 'greedy' });
    const out = inFolder('stopped');
    const cache = { folder: inFolder('stopped-cache') };
    for (let stop = 0; stop < 8; stop++) {
      const engine = new LinearEngine();
      const controller = new AbortController();
      // In the middle of a trial; a trial asks 200 questions at most, so every run comes further
      // than the one before it.
      engine.onAnswer = () => {
        if (engine.asked >= 450) controller.abort(new Error('stopped'));
      };
      const stopped = run({ engine, out, cache, compose: 'greedy', signal: controller.signal });
      await expect(stopped).rejects.toThrow('stopped');
      expect(existsSync(join(out, '.candidate'))).toBe(false);
      // A torn last line, as a killed process may leave one.
      await appendFile(join(out, 'trials.jsonl'), '{"line":"trial","number":');
    }
    expect((await trialsOf(out)).length).toBeGreaterThan(8);
    const last = await run({ out, cache, compose: 'greedy' });
    expect(last.trials.map(timeless)).toEqual(straight.trials.map(timeless));
    expect(last.summary.interventions).toEqual(straight.summary.interventions);
    expect(last.summary.comparisons).toEqual(straight.summary.comparisons);
    expect(await digestsIn(last.summary.model!)).toEqual(await digestsIn(straight.summary.model!));
  });

  it('refuses the folder of another search, naming what differs, and folders with other things', async () => {
    const { out } = await run({ rhos: [0.1] });
    const refused = (options: Partial<SearchOptions>) => run(options).then(String, (error: unknown) => error);
    const error = await refused({ out, rhos: [0.2] });
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ code: 'ERR_OUTPUT', kind: 'DifferentSearch' });
    expect((error as Error).message).toContain('candidates');
    const other = inFolder('other');
    await mkdir(other);
    await writeFile(join(other, 'precious.txt'), 'x');
    expect(await refused({ out: other })).toMatchObject({ code: 'ERR_OUTPUT', kind: 'OutputExists' });
    expect(await readdir(other)).toEqual(['precious.txt']);
    expect(await refused({ out: join(model, 'out') })).toMatchObject({ kind: 'OutputInsideInput' });
    expect(await refused({ out: inFolder('no', 'such', 'folder') })).toMatchObject({ kind: 'NoFolder' });
  });

  it('leaves nothing if it fails before the first trial', async () => {
    const engine = new LinearEngine();
    engine.open = () => Promise.reject(new LowRankError('ERR_PEER', 'not installed'));
    const out = inFolder('nothing');
    await expect(run({ engine, out })).rejects.toThrow('not installed');
    expect(existsSync(out)).toBe(false);
    await expect(run({ layers: [7], out })).rejects.toMatchObject({ code: 'ERR_NOT_FOUND' });
    for (const wrong of [{ validation: { questions: [] } }, { budget: { trials: 0 } }, { cache: { bytes: -1 } }]) {
      await expect(run({ ...wrong, out })).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    }
    expect(existsSync(out)).toBe(false);
  });

  it('does not let two searches run in one folder', async () => {
    const out = inFolder('two');
    const engine = new LinearEngine();
    let second: Promise<unknown> | undefined;
    engine.onAnswer = () => {
      second ??= run({ out }).catch((error: unknown) => error);
    };
    await run({ engine, out, rhos: [0.1, 0.2, 0.4, 0.6] });
    expect(second).toBeDefined();
    expect(await second).toBeInstanceOf(CheckpointError);
  });
});

function digestNow(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}
