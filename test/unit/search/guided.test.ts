import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../../lib/evaluate/engines/engine.js';
import { searchReport } from '../../../lib/report/search-report.js';
import { readSearchLog } from '../../../lib/search/log.js';
import type { RoundLine, Trial } from '../../../lib/search/log-lines.js';
import type { SearchProgress } from '../../../lib/search/progress.js';
import { affordable, costOfRounds, GUIDED_SHARE, planRounds } from '../../../lib/search/rounds.js';
import { search } from '../../../lib/search/search.js';
import type { SearchOptions } from '../../../lib/search/settings.js';
import { temporaryPaths } from '../../support/folder.js';
import { LinearEngine, linearQuestions, writeLinearModel } from '../../support/linear-model.js';

const inFolder = temporaryPaths();
let model = '';
let validation: SearchOptions['validation'];

beforeAll(async () => {
  model = await writeLinearModel(inFolder('model'));
  validation = { questions: await linearQuestions(model, 160) };
});

let runs = 0;
async function run(options: Partial<SearchOptions> = {}) {
  const out = options.out ?? inFolder(`out${++runs}`);
  const engine = new LinearEngine();
  const summary = await search(model, { engine, validation, cache: { bytes: 0 }, guided: true, ...options, out });
  const lines = await readSearchLog(out);
  const trials = lines.filter((line): line is Trial => line.line === 'trial');
  const rounds = lines.filter((line): line is RoundLine => line.line === 'round');
  return { out, summary, lines, trials, rounds, engine };
}

const timeless = ({ seconds: _, ...line }: Trial | RoundLine) => line;

describe('the rounds of a guided search', () => {
  it('end with all questions, and fit into a third of the full grid whenever that asks enough', () => {
    const size = (max: number) => fc.integer({ min: 1, max });
    fc.assert(
      fc.property(size(400), size(3000), (candidates, questions) => {
        const rounds = planRounds(candidates, questions);
        expect(rounds.at(-1)).toBe(questions);
        expect(rounds[0]).toBeLessThanOrEqual(32);
        const budget = GUIDED_SHARE * candidates * questions;
        // One candidate has to be asked everything, and each of them something.
        if (rounds[0]! > 1) expect(costOfRounds(candidates, rounds, 0)).toBeLessThanOrEqual(budget);
        for (let i = 1; i < rounds.length; i++) {
          expect(rounds[i]).toBe(Math.min(questions, 2 * rounds[i - 1]!));
          const left = budget - candidates * rounds[i - 1]!;
          const most = affordable(rounds, i, left);
          if (most > 1) expect(costOfRounds(most, rounds, i)).toBeLessThanOrEqual(left);
          expect(costOfRounds(most + 1, rounds, i)).toBeGreaterThan(left);
        }
      }),
    );
  });
});

describe('a guided search', () => {
  it('finds the winner of the full grid with at most a third of its questions', async () => {
    const full = await run({ guided: false, earlyStopping: false });
    for (const earlyStopping of [true, false]) {
      const { summary, trials, rounds } = await run({ earlyStopping });
      expect(summary.interventions).toEqual(full.summary.interventions);
      expect(summary.winnerTrial.score).toEqual(full.summary.winnerTrial.score);
      const asked = summary.counts.asked - validation.questions.length;
      expect(asked).toBeLessThanOrEqual(GUIDED_SHARE * summary.counts.trials * validation.questions.length);
      expect(rounds.reduce((sum, { outcomes }) => sum + outcomes.length, 0)).toBe(asked);
      expect(summary.counts.trials).toBe(full.summary.counts.trials);
      // The answers that were given are those of the full grid.
      for (const trial of trials) {
        const same = full.trials.find(({ number }) => number === trial.number)!;
        expect(trial.candidate).toEqual(same.candidate);
        for (const [i, outcome] of [...trial.outcomes].entries()) {
          if (outcome !== '-') expect(outcome).toBe(same.outcomes[i]);
        }
        if (trial.verdict === 'complete') expect(trial.score).toEqual(same.score);
      }
      const hopeless = trials.filter(({ verdict }) => verdict === 'hopeless');
      expect(hopeless.length > 0).toBe(earlyStopping);
    }
  });

  it('asks all candidates of a round the same questions', async () => {
    const { rounds, trials } = await run();
    const first = rounds.filter(({ round }) => round === 1);
    expect(first.map(({ number }) => number)).toEqual(first.map((_, i) => i + 1));
    const asked = (trial: Trial) => [...trial.outcomes].map((outcome) => outcome !== '-').join();
    const stopped = trials.filter(({ score }) => score.questions === first[0]!.outcomes.length);
    expect(stopped.length).toBeGreaterThan(1);
    expect(new Set(stopped.map(asked)).size).toBe(1);
  });

  it('comes to the same result however often it is stopped, and asks nothing twice', async () => {
    const straight = await run({ compose: 'greedy' });
    const out = inFolder('stopped');
    for (let stop = 0; stop < 3; stop++) {
      const engine = new LinearEngine();
      const controller = new AbortController();
      engine.onAnswer = () => {
        if (engine.asked >= 180 + stop) controller.abort(new Error('stopped'));
      };
      const stopped = run({ engine, out, compose: 'greedy', signal: controller.signal });
      await expect(stopped).rejects.toThrow('stopped');
      // What an unfinished search has found can be shown.
      expect(searchReport(await readSearchLog(out))).toContain('unfinished');
    }
    const last = await run({ out, compose: 'greedy' });
    expect(last.trials.map(timeless)).toEqual(straight.trials.map(timeless));
    expect(last.rounds.map(timeless)).toEqual(straight.rounds.map(timeless));
    expect(last.summary.interventions).toEqual(straight.summary.interventions);
  });

  it('reports rounds, and the time that is left', async () => {
    const told: SearchProgress[] = [];
    await run({ onProgress: (progress) => told.push(progress) });
    const inRounds = told.filter(({ round }) => round !== undefined);
    expect(inRounds[0]).toMatchObject({ phase: 'grid', round: { number: 1 }, done: 0, asked: 0 });
    expect(inRounds.every(({ remainingSeconds }) => remainingSeconds! >= 0)).toBe(true);
    expect(inRounds.at(-1)!.remainingSeconds).toBeLessThan(inRounds[0]!.remainingSeconds!);
    expect(told.at(-1)!.round).toBeUndefined();
  });

  it('is refused with a budget, and for an engine that reports the whole set alone', async () => {
    await expect(run({ budget: { trials: 5 } })).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    const inner = new LinearEngine();
    const engine: Engine = {
      ...inner,
      name: 'command',
      close: async () => undefined,
      open: async (path) => {
        const session = await inner.open(path);
        return {
          checkpoint: session.checkpoint,
          reload: () => session.reload(),
          close: () => session.close(),
          reported: { accuracy: 0.5 },
          // biome-ignore lint/correctness/useYield: it answers no single question.
          async *ask() {
            return undefined;
          },
        };
      },
    };
    await expect(run({ engine })).rejects.toMatchObject({ code: 'ERR_ENGINE' });
  });

  it('names the line of a round that is none', async () => {
    const { out } = await run({ layers: [1], types: ['fc_in'] });
    const file = join(out, 'trials.jsonl');
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
    const at = lines.findIndex((line) => line.includes('"line":"round"'));
    const faults: [change: Partial<RoundLine>, message: RegExp][] = [
      [{ round: 9 }, /round: expected/],
      [{ number: 99 }, /number: expected/],
      [{ outcomes: '1' }, /outcomes: expected a 0, 1 or - and a loss for each of/],
    ];
    for (const [change, message] of faults) {
      const bad = [...lines];
      bad[at] = JSON.stringify({ ...JSON.parse(lines[at]!), ...change });
      await writeFile(file, `${bad.join('\n')}\n`);
      await expect(readSearchLog(out)).rejects.toThrow(message);
      await expect(readSearchLog(out)).rejects.toThrow(`line ${at + 1}`);
    }
  });
});
