import { afterEach, describe, expect, it, vi } from 'vitest';
import type { TokenModel } from '../../../lib/evaluate/engines/engine.js';
import type { TokenProgress } from '../../../lib/evaluate/engines/token-progress.js';
import { type EvaluateProgress, Evaluator } from '../../../lib/evaluate/evaluator.js';
import type { Question } from '../../../lib/evaluate/questions/question.js';
import { BEGIN, encodeLetters, fakeEngine, MASK_TOKEN } from './fake-model.js';

afterEach(() => vi.restoreAllMocks());

const ask = (prompt: string, answer: string, id = 0): Question => ({ id, kind: 'answer', prompt, answer });

/** A model that takes a second for each token, and some for each request, by a clock of its own. */
function slowModel(perRequest: number): { model: Partial<TokenModel>; seconds: () => number } {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => now);
  const model: Partial<TokenModel> = {
    score: async (requests, _, onRan) => {
      const scores = [];
      for (const { tokens, reads } of requests) {
        now += 1000 * (tokens.length + perRequest);
        onRan?.(tokens.length, 1);
        const top = [{ token: 1, logProb: -1 }];
        scores.push(reads.map(({ targets }) => ({ logProbs: targets.map(() => -1), top })));
      }
      return scores;
    },
  };
  return { model, seconds: () => now / 1000 };
}

/** Evaluates, and returns the reports with the time at which each came. */
async function watch(questions: readonly Question[], generate: number, perRequest: number) {
  const { model, seconds } = slowModel(perRequest);
  const { engine } = fakeEngine(model);
  const reports: { at: number; progress: EvaluateProgress }[] = [];
  const onProgress = (progress: EvaluateProgress) => reports.push({ at: seconds(), progress });
  await new Evaluator(engine).evaluate('a', questions, { generate, onProgress });
  return { reports, end: seconds() };
}

describe('progress inside a batch', () => {
  const growing = Array.from({ length: 60 }, (_, id) => ask('a'.repeat(2 + Math.floor(id / 2)), 'b', id));

  it.each([
    [0, 0],
    [0, 50],
    [3, 0],
    [3, 50],
  ])(
    'tells the time left within 30 percent from the first tenth on (%d tokens generated, %d s a request)',
    async (generate, perRequest) => {
      // Sorted by length, a count of questions would be wrong by far.
      const { reports, end } = await watch(
        generate === 0 ? growing : growing.slice(0, 40).reverse(),
        generate,
        perRequest,
      );
      const later = reports.filter(({ at }) => at >= end / 10 && at < end);
      expect(later.length).toBeGreaterThan(40);
      for (const { at, progress } of later) {
        const { remainingSeconds } = progress;
        if (generate > 0 && remainingSeconds === undefined) continue;
        expect(Math.abs(remainingSeconds! - (end - at)) / (end - at), `at ${at} of ${end}`).toBeLessThan(0.3);
      }
    },
  );

  it('counts tokens while no question is answered yet', async () => {
    const { reports } = await watch(growing, 0, 0);
    const first = reports.find(({ progress }) => progress.tokens !== undefined)!.progress;
    expect(first).toMatchObject({ done: 0, tokens: { done: 4 } });
    const last = reports.at(-1)!.progress.tokens as TokenProgress;
    expect(last.done).toBe(last.total);
  });
});

describe('a preview', () => {
  it('has the tokens that are given, and those that are scored, and runs nothing', async () => {
    const { engine, log } = fakeEngine();
    const session = await engine.open('a');
    const choice: Question = { id: 0, kind: 'choice', prompt: 'ab', choices: ['c', 'cd'], label: 0, answer: 'c' };
    expect(await session.preview!(choice)).toEqual({
      given: ['?', 'a', 'b'],
      scored: [
        [' ', 'c'],
        [' ', 'c', 'd'],
      ],
    });
    expect(await session.preview!({ id: 1, kind: 'text', prompt: 'abc' })).toEqual({
      given: ['?'],
      scored: [['a', 'b', 'c']],
    });
    expect(log.requests).toEqual([]);
  });

  it('of a masked model has the masks among what is given', async () => {
    const encode = async (texts: readonly string[]) => texts.map((s) => encodeLetters(s.replaceAll(' ', '')));
    const { engine } = fakeEngine({ kind: 'masked', mask: { token: MASK_TOKEN, text: '_' }, encode });
    const session = await engine.open('a');
    expect(await session.preview!(ask('a <mask> c', 'b'))).toEqual({ given: ['?', 'a', '?', 'c'], scored: [['b']] });
  });
});

describe('a question worded by a chat template', () => {
  it('has nothing put before its answer, and special tokens only once', async () => {
    const special: (readonly boolean[] | undefined)[] = [];
    const { engine, log } = fakeEngine({
      async encode(texts, flags) {
        special.push(flags);
        return texts.map((text) => [BEGIN, ...encodeLetters(text)]);
      },
    });
    const session = await engine.open('a');
    const chat: Question = { ...ask('ab', 'c'), chat: true };
    for await (const _ of session.ask([chat, ask('ab', 'c', 1)]));
    expect(special).toEqual([[true, true, false, false]]);
    const letters = (text: string) => encodeLetters(text);
    expect(log.requests.map(({ tokens }) => tokens)).toEqual([
      [BEGIN, ...letters('ab')],
      [BEGIN, BEGIN, ...letters('ab ')],
    ]);
  });

  it('is refused by a model that fills in masks', async () => {
    const { engine } = fakeEngine({ kind: 'masked' });
    const session = await engine.open('a');
    const answers = session.ask([{ ...ask('ab', 'c'), chat: true }]);
    await expect(answers.next()).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' });
  });
});
