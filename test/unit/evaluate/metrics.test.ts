import { describe, expect, it } from 'vitest';
import { judge } from '../../../lib/evaluate/engines/grade.js';
import { bootstrap, interval } from '../../../lib/evaluate/metrics/bootstrap.js';
import { laserSummary } from '../../../lib/evaluate/metrics/laser-summary.js';
import { exactMatch, generationMatch, overlap, words } from '../../../lib/evaluate/metrics/match.js';
import { compareResults, logSumExp, measure, summariseResults } from '../../../lib/evaluate/metrics/summary.js';
import type { Question } from '../../../lib/evaluate/questions/question.js';
import type { ExampleResult } from '../../../lib/evaluate/result.js';

function result(id: number, fields: Partial<ExampleResult>): ExampleResult {
  return { ...judge({ id, kind: 'text', prompt: '' }, {}), ...fields };
}

const choiceQuestion: Question = { id: 0, kind: 'choice', prompt: 'p', choices: ['a', 'b'], label: 1, answer: 'b' };
const question: Question = { id: 0, kind: 'answer', prompt: 'Paris or Rome? The answer is', answer: 'Rome' };

describe('matching texts', () => {
  it('ignores case and white space at the ends', () => {
    expect(exactMatch(' Rome\n', 'rome')).toBe(true);
    expect(exactMatch('Rome.', 'rome')).toBe(false);
    expect(generationMatch('It is ROME.', 'rome')).toBe(true);
    expect(generationMatch('It is Paris', 'rome')).toBe(false);
  });

  it('divides words and marks', () => {
    expect(words("Don't go, it's 3.5 well-known!")).toEqual([
      'Do',
      "n't",
      'go',
      ',',
      'it',
      "'s",
      '3.5',
      'well-known',
      '!',
    ]);
    expect(words('')).toEqual([]);
  });

  it('computes F1 rightly, or as LASER does', () => {
    expect(overlap('a b c d e', 'a b x y z').f1).toBeCloseTo(0.4, 12);
    expect(overlap('a b c d e', 'a b x y z', 'laser').f1).toBeCloseTo(0.32, 12);
    expect(overlap('a b c d', 'a b c x y')).toMatchObject({ precision: 0.75, recall: 0.6 });
    expect(overlap('a b c d', 'a b c x y')).toEqual(overlap('a b c d', 'a b c x y', 'laser'));
    expect(overlap('a', 'b').f1).toBe(0);
    expect(overlap('a', 'b', 'laser').f1).toBe(0);
    expect(overlap('a b c d', 'A B')).toEqual({ precision: 0.5, recall: 1, f1: 2 / 3 });
    expect(overlap('', 'a')).toEqual({ precision: 0, recall: 0, f1: 0 });
  });
});

describe('judge', () => {
  it('takes the first of the likeliest choices', () => {
    expect(judge(choiceQuestion, { choiceLogProbs: [-2, -1] })).toMatchObject({
      correct: true,
      prediction: 'b',
      answerLogProb: -1,
    });
    expect(judge(choiceQuestion, { choiceLogProbs: [-1, -1] })).toMatchObject({ correct: false, prediction: 'a' });
  });

  it('judges answers by the greedy tokens, or by the generated text', () => {
    expect(judge(question, { greedy: true }).correct).toBe(true);
    expect(judge(question, { greedy: true, generation: ' London' })).toMatchObject({
      correct: false,
      f1: 0,
      exactMatch: false,
    });
    expect(judge(question, { generation: ' Rome' })).toMatchObject({
      correct: true,
      f1: 1,
      exactMatch: true,
      prediction: ' Rome',
    });
    expect(judge(question, { greedy: true, correct: false }).correct).toBe(false);
  });

  it('has the quirks of LASER on demand', () => {
    // The question mentions the answer, and the original searches the question as well.
    expect(judge(question, { generation: ' London' }, 'laser').correct).toBe(true);
    expect(judge(question, { generation: ' London', masked: true }, 'laser').correct).toBe(false);
    expect(judge(question, { answerTokens: 2, masked: true }, 'laser').answerTokens).toBe(3);
    expect(judge(question, { answerTokens: 2, masked: true }).answerTokens).toBe(2);
    expect(judge(question, { answerTokens: 2 }, 'laser').answerTokens).toBe(2);
    const top = [{ text: 'ROME', logProb: -1 }];
    expect(judge(question, { top, answerTokens: 1, greedy: false }, 'laser')).toMatchObject({ correct: true, rank: 0 });
    expect(judge(question, { top, answerTokens: 1, greedy: false })).toMatchObject({ correct: false, rank: undefined });
  });
});

describe('summariseResults', () => {
  const top = Array.from({ length: 10 }, (_, i) => ({ text: String(i), logProb: -i - 1 }));
  const results = [
    result(0, {
      correct: true,
      answer: 'x',
      answerLogProb: -1,
      answerTokens: 1,
      top,
      rank: 0,
      choiceLogProbs: [-1, -1],
    }),
    result(1, {
      correct: false,
      answer: 'x',
      answerLogProb: -6,
      answerTokens: 3,
      top,
      rank: 4,
      choiceLogProbs: [-6, -6, -6],
    }),
    result(2, { correct: true, answer: 'x', answerLogProb: -2, answerTokens: 1, top, choiceLogProbs: [-2] }),
  ];

  it('knows each metric', async () => {
    const summary = await summariseResults(results);
    expect(summary.accuracy).toMatchObject({ value: 2 / 3, examples: 3 });
    expect([summary.top1?.value, summary.top5?.value, summary.top10?.value]).toEqual([1 / 3, 2 / 3, 2 / 3]);
    expect(summary.meanLogProb?.value).toBeCloseTo((-1 - 2 - 2) / 3, 12);
    expect(summary.logLoss?.value).toBeCloseTo(5 / 3, 12);
    expect(summary.perplexity?.value).toBeCloseTo(Math.exp(9 / 5), 12);
    expect(summary.choiceLogProb?.value).toBeCloseTo(-(Math.log(2) + Math.log(3)) / 3, 12);
    expect(summary.f1).toBeUndefined();
    expect(Object.keys(await summariseResults(results, { metrics: ['accuracy'] }))).toEqual(['accuracy']);
    expect(await summariseResults([])).toEqual({});
    await expect(summariseResults(results, { metrics: ['speed' as 'accuracy'] })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
    });
    expect(measure(results, 'f1')).toBeUndefined();
  });

  it('keeps an impossible answer infinite, and is NaN if nothing is known', async () => {
    const lost = [...results, result(3, { answerLogProb: Number.NEGATIVE_INFINITY, answerTokens: 1 })];
    const { logLoss } = await summariseResults(lost);
    expect(logLoss?.value).toBe(Number.POSITIVE_INFINITY);
    expect(logLoss?.high).toBe(Number.POSITIVE_INFINITY);
    expect(logSumExp([Number.NEGATIVE_INFINITY])).toBe(Number.NEGATIVE_INFINITY);
    expect(logSumExp([-1000, -1000])).toBeCloseTo(-1000 + Math.log(2), 9);
  });

  it('draws intervals that the normal approximation confirms', async () => {
    const many = Array.from({ length: 2000 }, (_, id) => result(id, { correct: id % 4 === 0 }));
    const { accuracy } = await summariseResults(many, { seed: 3 });
    const half = 1.96 * Math.sqrt((0.25 * 0.75) / 2000);
    expect(accuracy!.low).toBeGreaterThan(0.25 - 1.2 * half);
    expect(accuracy!.low).toBeLessThan(0.25 - 0.8 * half);
    expect(accuracy!.high).toBeGreaterThan(0.25 + 0.8 * half);
    expect(accuracy!.high).toBeLessThan(0.25 + 1.2 * half);
    expect(await summariseResults(many, { seed: 3 })).toEqual({ accuracy });
    expect((await summariseResults(many, { seed: 4 })).accuracy).not.toEqual(accuracy);
  });
});

describe('compare', () => {
  const before = Array.from({ length: 200 }, (_, id) =>
    result(id, { correct: id % 2 === 0, answerLogProb: -2, answerTokens: 1 }),
  );

  it('pairs questions, so that equal results have no uncertainty', async () => {
    expect(await compareResults(before, before, 'accuracy')).toEqual({
      metric: 'accuracy',
      difference: 0,
      low: 0,
      high: 0,
      pairs: 200,
      better: 0,
    });
  });

  it('finds a gain, whatever the order of the results', async () => {
    const after = before.map((one, id) => ({ ...one, correct: one.correct || id < 60, answerLogProb: -1 })).reverse();
    const gain = await compareResults(before, after, 'accuracy');
    expect(gain.difference).toBeCloseTo(30 / 200, 12);
    expect(gain.low).toBeGreaterThan(0.09);
    expect(gain.high).toBeLessThan(0.21);
    expect(gain.better).toBe(1);
    // Of the log loss less is better.
    expect(await compareResults(before, after, 'logLoss')).toMatchObject({ difference: -1, better: 1 });
  });

  it('leaves out what only one of them has, and refuses to compare nothing', async () => {
    const { pairs } = await compareResults(before, before.slice(0, 50), 'accuracy');
    expect(pairs).toBe(50);
    await expect(compareResults(before, [], 'accuracy')).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    // Two sets put together, whose questions are counted from 0 each: nobody knows what belongs
    // together.
    for (const [a, b] of [
      [[...before, ...before], before],
      [before, [...before, ...before]],
    ] as const) {
      await expect(compareResults(a, b, 'accuracy')).rejects.toThrow('a unique id');
    }
  });
});

describe('bootstrap', () => {
  it('draws as many as there are', async () => {
    const totals = await bootstrap(7, (drawn) => drawn.reduce((sum, times) => sum + times, 0), { resamples: 20 });
    expect(totals).toEqual(Array(20).fill(7));
  });

  it('takes the middle of the values', () => {
    expect(interval([4, 1, 3, 2, 5], 0.5)).toEqual({ low: 2, high: 4 });
    expect(interval([1, 2], 0.5)).toEqual({ low: 1.25, high: 1.75 });
    expect(interval([]).low).toBeNaN();
  });

  it('stops when asked to', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(bootstrap(1_000_000, () => 0, { signal })).rejects.toThrow('enough');
  });
});

describe("LASER's dictionary", () => {
  it('gives the published figures of Llama 2 on FEVER from counts', () => {
    // github.com/pratyushasharma/laser/issues/27: 13,086 claims, 7,195 right, top-1 7,175, top-5
    // 13,076, top-10 13,085.
    const top = Array.from({ length: 10 }, (_, i) => ({ text: String(i), logProb: -i - 1 }));
    const rankOf = (id: number) => (id < 7175 ? 0 : id < 13_076 ? 4 : id < 13_085 ? 9 : undefined);
    const results = Array.from({ length: 13_086 }, (_, id) =>
      result(id, { correct: id < 7195, answer: 'true', answerLogProb: -1, answerTokens: 1, top, rank: rankOf(id) }),
    );
    const laser = laserSummary(results);
    expect(laser['0-1 correctness']).toBeCloseTo(54.98242396454226, 10);
    expect(laser['top-1 accuracy']).toBeCloseTo(54.82958887360538, 10);
    expect(laser['top-5 accuracy']).toBeCloseTo(99.92358245453156, 10);
    expect(laser['top-10 accuracy']).toBeCloseTo(99.99235824545316, 10);
    expect(laser).toMatchObject({
      dataset_size: 13_086,
      'avg f1 score': null,
      'num log probs': 13_086,
      'mean log prob': -1,
    });
    expect(laser.perplexity).toBeCloseTo(Math.E, 12);
  });

  it('divides by one if there is nothing', () => {
    expect(laserSummary([])).toEqual({
      '0-1 correctness': 0,
      'avg f1 score': 0,
      'mean log prob': 0,
      perplexity: 1,
      dataset_size: 0,
      'total answer tokens': 0,
      'num log probs': 0,
    });
  });
});
