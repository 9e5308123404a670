import { describe, expect, it } from 'vitest';
import type { TokenModel } from '../../../lib/evaluate/engines/engine.js';
import { readLogits } from '../../../lib/evaluate/engines/logits.js';
import { type EvaluateProgress, Evaluator } from '../../../lib/evaluate/evaluator.js';
import type { Question } from '../../../lib/evaluate/questions/question.js';
import { BEGIN, encodeLetters, fakeEngine, LIKELY, MASK_TOKEN, OTHER } from './fake-model.js';

const answer = (prompt: string, said: string, id = 0): Question => ({ id, kind: 'answer', prompt, answer: said });
const choice = (prompt: string, choices: string[], label: number, id = 0): Question => ({
  id,
  kind: 'choice',
  prompt,
  choices,
  label,
  answer: choices[label]!,
});
const text = (prompt: string, id = 0): Question => ({ id, kind: 'text', prompt });

async function ask(questions: Question[], options = {}, model: Partial<TokenModel> = {}) {
  const { engine, log } = fakeEngine(model);
  const evaluation = await new Evaluator(engine).evaluate('model', questions, options);
  return { ...evaluation, log, first: evaluation.results[0]! };
}

describe('readLogits', () => {
  it('is the logarithm of the softmax, even for large numbers', () => {
    const { logProbs, top } = readLogits([1000, 1001, 1000, -1000], [0, 1], 3);
    const norm = Math.log(2 + Math.E);
    expect(logProbs[0]).toBeCloseTo(-norm, 10);
    expect(logProbs[1]).toBeCloseTo(1 - norm, 10);
    expect(top.map(({ token }) => token)).toEqual([1, 0, 2]);
    expect(readLogits([1, 2], [], 0).top).toEqual([]);
    expect(readLogits([1, 2], [], 5).top).toHaveLength(2);
  });
});

describe('answers', () => {
  it('are right if every token is the likeliest', async () => {
    const { results } = await ask([answer('xa ', 'a', 0), answer('q ', 'abc', 1), answer('q ', 'abx', 2)]);
    expect(results.map(({ correct }) => correct)).toEqual([true, true, false]);
    expect(results[1]).toMatchObject({ answerTokens: 3, rank: 0, prediction: 'a' });
    expect(results[1]!.answerLogProb).toBeCloseTo(3 * LIKELY, 10);
    expect(results[2]!.answerLogProb).toBeCloseTo(2 * LIKELY + OTHER, 10);
    expect(results[0]!.top).toHaveLength(10);
  });

  it('are parted from the prompt by a space unless there is one', async () => {
    const { log } = await ask([answer('ab', 'c'), answer('ab ', 'c')]);
    const tokens = [BEGIN, ...encodeLetters('ab ')];
    expect(log.requests.map((request) => request.tokens)).toEqual([tokens, tokens]);
  });

  it('start where the encodings differ, if the tokenizer merges across the boundary', async () => {
    // "t" and "h" become one token, so the context ends before "t".
    const { first, log } = await ask(
      [answer('at', 'ha')],
      {},
      { encode: async (texts) => texts.map((s) => encodeLetters(s.replace('t ha', 'tha'))) },
    );
    expect(log.requests[0]!.tokens).toEqual([BEGIN, 1, 29]);
    expect(first.answerTokens).toBe(2);
  });

  it('are looked for in a generation, which ends at an end token or after so many tokens', async () => {
    const { results } = await ask([answer('q ', 'cde', 0), answer('q x', 'yy', 1)], { generate: 5 });
    expect(results[0]).toMatchObject({ generation: 'abcde', correct: true, exactMatch: false });
    expect(results[1]).toMatchObject({ generation: 'y', correct: false });
  });

  it('do not fill a mask', async () => {
    await expect(ask([answer('ab <mask>', 'c')])).rejects.toThrow('has <mask>, but this model continues texts');
  });

  it('need a prompt, and room', async () => {
    await expect(ask([answer('', 'a')], {}, { prefix: [] })).rejects.toMatchObject({ code: 'ERR_DATASET' });
    await expect(ask([answer('a'.repeat(50), 'a')])).rejects.toThrow(
      'question 0 has 52 tokens, but the model takes 40',
    );
  });
});

describe('choices', () => {
  it('share a request if each is one token', async () => {
    const { first, log } = await ask([choice('q ', ['x', 'a', 'c'], 1)]);
    expect(log.requests).toHaveLength(1);
    expect(first).toMatchObject({ correct: true, prediction: 'a', answerTokens: 1 });
    expect(first.choiceLogProbs![0]).toBeCloseTo(OTHER, 10);
    expect(first.choiceLogProbs![1]).toBeCloseTo(LIKELY, 10);
  });

  it('are summed over their tokens', async () => {
    const { first } = await ask([choice('q ', ['xyz', 'abq', 'a'], 0)]);
    const expected = [OTHER + 2 * LIKELY, 2 * LIKELY + OTHER, LIKELY];
    expect(first.choiceLogProbs!.map((value, i) => value - expected[i]!)).toEqual(
      [0, 0, 0].map(() => expect.closeTo(0, 10)),
    );
    expect(first).toMatchObject({ correct: false, prediction: 'a', answerTokens: 3 });
  });

  it('are all scored from the same position on, even if the tokenizer merges one with the prompt', async () => {
    // "t" and "ha" become "tha", so the "t" of the prompt counts for the other choice as well.
    const encode = async (texts: readonly string[]) => texts.map((s) => encodeLetters(s.replace('t h', 'th')));
    const { first, log } = await ask([choice('at', ['h', ' c'], 0)], {}, { encode });
    for (const { tokens } of log.requests) expect(tokens.slice(0, 2)).toEqual([BEGIN, 1]);
    const expected = [OTHER, 3 * OTHER];
    expect(first.choiceLogProbs!.map((value, i) => value - expected[i]!)).toEqual(
      [0, 0].map(() => expect.closeTo(0, 10)),
    );
    expect(first).toMatchObject({ correct: true, answerTokens: 1 });
  });

  it('need a token of their own', async () => {
    const encode = async (texts: readonly string[]) => texts.map((s) => encodeLetters(s.replace(/ ?[?]/g, '')));
    await expect(ask([choice('ab', ['c', '?'], 0)], {}, { encode })).rejects.toThrow('has no token of its own');
    await expect(ask([choice('?', ['?', 'a'], 0)], {}, { encode })).rejects.toMatchObject({ code: 'ERR_DATASET' });
  });
});

describe('texts', () => {
  it('are scored from the first token on if something precedes it', async () => {
    const { first, summary } = await ask([text('abd')]);
    // In this alphabet `a` is likely after the begin and b after a, but d is not after b.
    expect(first).toMatchObject({ answerTokens: 3, correct: undefined, top: undefined });
    expect(first.answerLogProb).toBeCloseTo(2 * LIKELY + OTHER, 10);
    expect(summary.perplexity!.value).toBeCloseTo(Math.exp(-(2 * LIKELY + OTHER) / 3), 10);
    const bare = await ask([text('abd')], {}, { prefix: [] });
    expect(bare.first.answerTokens).toBe(2);
    await expect(ask([text('a')], {}, { prefix: [] })).rejects.toMatchObject({ code: 'ERR_DATASET' });
  });

  it.each([4, 5, 8, 13])(
    'longer than the %i tokens of the model are scored in windows, each token once',
    async (contextLength) => {
      const long = 'abcdefghijklmnopqrstuvwxyz ab';
      const { first, log } = await ask([text(long)], {}, { contextLength });
      // A token depends on the one before it alone here, so windows must not change anything. After
      // z comes a space.
      expect(first.answerTokens).toBe(long.length);
      expect(first.answerLogProb).toBeCloseTo(long.length * LIKELY, 8);
      for (const [i, { tokens, reads }] of log.requests.entries()) {
        expect(tokens.length).toBeLessThanOrEqual(contextLength);
        if (i > 0) expect(reads[0]!.position).toBeGreaterThanOrEqual(Math.floor(contextLength / 2) - 1);
      }
    },
  );
});

describe('masked models', () => {
  /** Without spaces, as tokenizers that take them into the tokens. */
  const encode = async (texts: readonly string[]) => texts.map((s) => encodeLetters(s.replaceAll(' ', '')));
  const masked = { kind: 'masked', mask: { token: MASK_TOKEN, text: '_' }, suffix: [0], encode } as const;

  it('fill in the mask of the prompt, or one behind it', async () => {
    const { results, log } = await ask(
      [answer('ab <mask> d', 'c', 0), answer('ab', 'x', 1), choice('xb <mask> y', ['c', 'cd', 'q'], 0, 2)],
      {},
      masked,
    );
    const framed = (s: string) => [BEGIN, ...encodeLetters(s), 0];
    expect(log.requests.map(({ tokens }) => tokens)).toEqual(['ab_d', 'ab_', 'xb_y', 'xb__y'].map(framed));
    expect(log.requests[3]!.reads.map(({ position }) => position)).toEqual([3, 4]);
    expect(results.map(({ correct }) => correct)).toEqual([true, false, true]);
    expect(results[0]!.answerLogProb).toBeCloseTo(LIKELY, 10);
    // The second mask is seen after the first, which no letter follows.
    expect(results[2]!.choiceLogProbs![1]).toBeCloseTo(LIKELY + OTHER, 10);
    expect(results[2]!.choiceLogProbs![2]).toBeCloseTo(OTHER, 10);
  });

  it('predict the masked tokens, and count like LASER on demand', async () => {
    const { first } = await ask([answer('ab', 'c')], { generate: 3 }, masked);
    expect(first).toMatchObject({ generation: 'c', correct: true, answerTokens: 1 });
    const laser = await ask([answer('ab', 'c')], { compat: 'laser' }, masked);
    expect(laser.first.answerTokens).toBe(2);
    expect(laser.laser).toMatchObject({ 'total answer tokens': 2, '0-1 correctness': 100 });
  });

  it('refuse texts, and need a mask and an answer', async () => {
    await expect(ask([text('ab')], {}, { kind: 'masked', mask: { token: 28, text: '_' } })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
    });
    await expect(ask([answer('ab', 'c')], {}, { kind: 'masked', mask: undefined })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
    });
    await expect(ask([choice('ab', ['c', '   '], 0)], {}, masked)).rejects.toThrow('has no token of its own');
  });
});

describe('Evaluator', () => {
  const many = Array.from({ length: 100 }, (_, id) => answer('q ', id % 4 === 0 ? 'a' : 'x', id));

  it('answers in order, reports progress, and obeys a limit', async () => {
    const told: { done: number; accuracy: number | undefined }[] = [];
    const { results, summary } = await ask(many, { limit: 40, onProgress: (p: (typeof told)[0]) => told.push(p) });
    expect(results.map(({ id }) => id)).toEqual(many.slice(0, 40).map(({ id }) => id));
    expect(summary.accuracy).toMatchObject({ value: 0.25, examples: 40 });
    expect(told).toHaveLength(41);
    expect(told[0]).toMatchObject({ done: 0, total: 40, accuracy: undefined, remainingSeconds: undefined });
    expect(told.at(-1)).toMatchObject({ done: 40, accuracy: 0.25, remainingSeconds: 0 });
    await expect(ask(many, { limit: 0 })).rejects.toMatchObject({ argument: 'limit' });
  });

  it('asks no more than are taken, when the answers of a session are left off', async () => {
    const { engine, log } = fakeEngine();
    const session = await engine.open('a');
    let taken = 0;
    for await (const _ of session.ask(many, {})) if (++taken === 10) break;
    const { length } = log.requests;
    expect(length).toBeLessThan(many.length);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(log.requests).toHaveLength(length);
  });

  it('makes tokens once for all candidates on the same questions', async () => {
    const { engine, log } = fakeEngine();
    const evaluator = new Evaluator(engine);
    await evaluator.evaluate('a', many);
    const { encoded } = log;
    await evaluator.evaluate('b', many);
    expect(log.encoded).toBe(encoded);
    expect([log.opened, log.closed]).toEqual([2, 2]);
  });

  it('keeps a session open that it was given, so that its weights can be swapped', async () => {
    const { engine, log } = fakeEngine();
    const evaluator = new Evaluator(engine);
    const session = await engine.open('a');
    const first = await evaluator.evaluate(session, many);
    await session.reload();
    const second = await evaluator.evaluate(session, many);
    expect(second.results).toEqual(first.results);
    expect([log.opened, log.reloaded, log.closed]).toEqual([1, 1, 0]);
  });

  it('ends with the reason of an abort, and closes the model', async () => {
    const { engine, log } = fakeEngine();
    const controller = new AbortController();
    const onProgress = ({ done }: EvaluateProgress) => done > 0 && controller.abort(new Error('enough'));
    const evaluation = new Evaluator(engine).evaluate('a', many, { signal: controller.signal, onProgress });
    await expect(evaluation).rejects.toThrow('enough');
    expect(log.closed).toBe(1);
    await expect(new Evaluator(engine).evaluate('a', many, { signal: controller.signal })).rejects.toThrow('enough');
    expect(log.opened).toBe(1);
  });
});
