import { writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { compare, loadTexts } from '../../../lib/entries/evaluate.js';
import { shapesOf, speedOf } from '../../../lib/evaluate/compare/speed.js';
import { diverge, textLikelihood } from '../../../lib/evaluate/engines/diverge.js';
import type { Outputs, TokenModel } from '../../../lib/evaluate/engines/engine.js';
import type { TokenSession } from '../../../lib/evaluate/engines/token-session.js';
import { cosine, PairedSimilarities, ranks } from '../../../lib/evaluate/metrics/similarity.js';
import { temporaryPaths } from '../../support/folder.js';
import { fakeEngine, LIKELY, OTHER } from './fake-model.js';

const at = temporaryPaths();

function logits(...rows: readonly number[][]): Outputs {
  const text = { logProb: 0, tokens: 0 };
  return { kind: 'logits', rows: rows.length, size: rows[0]!.length, data: Float32Array.from(rows.flat()), text };
}

const log = (...p: number[]) => p.map((x) => Math.log(x));

describe('the divergence of logits', () => {
  it('is sum p log(p / q), whatever is added to a row', () => {
    const found = diverge(logits(log(0.25, 0.75), [3, 3]), logits(log(0.5, 0.5), [7, 7]));
    expect(found.kl).toBeCloseTo(0.5 * Math.log(2) + 0.5 * Math.log(2 / 3), 6);
    expect(found).toMatchObject({ rows: 2, agreed: 1 });
  });

  it('is 0 for the same logits, and infinite where the model excludes what may come', () => {
    const same = logits([1e4, -3, 0.1], [0, 0, 1e-30]);
    expect(diverge(same, same)).toMatchObject({ kl: 0, agreed: 2 });
    const [p, q] = [logits([0, 0]), logits([0, Number.NEGATIVE_INFINITY])];
    expect(diverge(q, p).kl).toBe(Number.POSITIVE_INFINITY);
    expect(diverge(p, q).kl).toBeCloseTo(Math.log(2), 12);
  });

  it('refuses outputs of other shapes', () => {
    expect(() => diverge(logits([1, 2]), logits([1, 2, 3]))).toThrow(
      /returns logits of 1 x 2, but the original .* 1 x 3/,
    );
  });

  it('goes with the likelihood of a text, read from the row before each token', () => {
    const data = Float32Array.from([...log(0.25, 0.75), ...log(0.5, 0.5), 9, 9]);
    const { logProb, tokens } = textLikelihood(data, 2, [0, 1, 0]);
    expect(logProb).toBeCloseTo(Math.log(0.75 * 0.5), 6);
    expect(tokens).toBe(2);
  });
});

describe('similarities', () => {
  it('are cosines', () => {
    expect(cosine([3, 4], [4, 3])).toBeCloseTo(24 / 25, 15);
    expect(cosine([0, 0], [4, 3])).toBeNaN();
  });

  it('are ranked, equal ones by their mean', () => {
    expect([...ranks([0.3, 0.1, 0.3, 0.2])]).toEqual([3.5, 1, 3.5, 2]);
  });

  it('correlate by rank alone: any monotone map gives 1, reversed order -1', () => {
    const angles = [0, 0.2, 0.5, 1.1];
    const vectors = (angle: (x: number) => number) => angles.map((x) => [Math.cos(angle(x)), Math.sin(angle(x))]);
    expect(
      new PairedSimilarities(
        vectors(Number),
        vectors((x) => 1.3 * x),
      ).correlation(),
    ).toBeCloseTo(1, 12);
    // Pairs (x, y, z) of similarities 1 < 2 < 3 against 3 > 2 > 1.
    const [a, b] = [
      [
        [1, 0],
        [0.9, Math.sqrt(0.19)],
        [0, 1],
      ],
      [
        [1, 0],
        [0, 1],
        [0.9, Math.sqrt(0.19)],
      ],
    ];
    // Orders of the pairs 01, 02, 12: 3 1 2 and 1 3 2, whose differences are 2, 2, 0: 1 - 6 * 8 /
    // 24.
    expect(new PairedSimilarities(a!, b!).correlation()).toBeCloseTo(-1, 12);
  });

  it('count a drawn item as often as it was drawn', () => {
    const random = [
      [1, 2],
      [2, -1],
      [0.5, 1],
      [3, 3],
    ];
    const pairs = new PairedSimilarities(random, [...random].reverse());
    expect(pairs.correlation([1, 1, 1, 1])).toBeCloseTo(pairs.correlation(), 12);
    expect(pairs.correlation([5, 0, 0, 0])).toBeNaN();
  });
});

describe('texts', () => {
  const load = async (content: string, options?: object) => {
    await writeFile(at('texts'), content);
    return loadTexts(at('texts'), options);
  };

  it('are lines, documents between blank lines, or lines of JSON', async () => {
    expect(await load('one\ntwo \r\n')).toEqual(['one', 'two']);
    expect(await load('\ufeffone\nmore\n \n\ntwo\n\n')).toEqual(['one\nmore', 'two']);
    expect(await load('{"text": "one\\ntwo"}\n\n{ "text": "three" }')).toEqual(['one\ntwo', 'three']);
  });

  it('are chosen by the seed, in the order of the file', async () => {
    const all = Array.from({ length: 50 }, (_, i) => `text ${i}`);
    const [first, again, other] = [
      await load(all.join('\n'), { samples: 9, seed: 1 }),
      await load(all.join('\n'), { samples: 9, seed: 1 }),
      await load(all.join('\n'), { samples: 9, seed: 2 }),
    ];
    expect(first).toEqual(again);
    expect(first).not.toEqual(other);
    expect(first).toHaveLength(9);
    expect(all.filter((text) => first.includes(text))).toEqual(first);
  });

  it('are refused with the line of the fault', async () => {
    await expect(load('{"text": "a"}\n{"prompt": "b"}')).rejects.toMatchObject({
      code: 'ERR_DATASET',
      message: expect.stringMatching(/line 2: expected an object with a string "text"/),
    });
    await expect(load('{"text": 5}')).rejects.toThrow(/line 1/);
    await expect(load(' \n\n')).rejects.toMatchObject({ code: 'ERR_DATASET' });
    await writeFile(at('latin'), Uint8Array.of(0x61, 0xff));
    await expect(loadTexts(at('latin'))).rejects.toThrow(/not valid UTF-8/);
    await expect(loadTexts(at('absent'))).rejects.toMatchObject({ code: 'ERR_CHECKPOINT_IO' });
  });
});

describe('the times of models', () => {
  it('are taken in turns, each model first as often as the others', async () => {
    const asked: string[] = [];
    const session = (name: string, milliseconds: number) =>
      ({
        checkpoint: name,
        model: {
          async time() {
            asked.push(name);
            return milliseconds;
          },
          reload: async () => undefined,
        },
      }) as unknown as TokenSession;
    const shapes = [{ kind: 'whole' as const, batch: 1, length: 4 }];
    const [a, b] = await speedOf([session('a', 4), session('b', 3)], shapes, [1, 2], 4, { seed: 0 }, () => undefined);
    expect(asked.join('')).toBe('abab' + 'baab' + 'ba');
    expect(a!.latency[0]).toMatchObject({ milliseconds: { value: 4, examples: 4 }, relative: undefined });
    expect(b!.latency[0]).toMatchObject({
      milliseconds: { value: 3 },
      relative: { value: 0.75, low: 0.75, high: 0.75 },
    });
  });

  it('are those of lengths that the model takes, without repetition', () => {
    expect(shapesOf('embedding', 512).map(({ batch, length }) => `${batch}x${length}`)).toEqual([
      '1x16',
      '1x128',
      '8x128',
    ]);
    expect(shapesOf('masked', 16).map(({ batch, length }) => `${batch}x${length}`)).toEqual(['1x16', '8x16']);
    expect(shapesOf('causal', 100)).toEqual([
      { kind: 'whole', batch: 1, length: 100 },
      { kind: 'decode', batch: 1, length: 99 },
    ]);
  });
});

describe('compare', () => {
  const texts = ['abcd', 'ab', 'xa'];
  const file = async (name: string) => {
    await writeFile(at(name), 'GGUF?');
    return at(name);
  };

  it('finds no divergence of a model from itself, and the perplexity that it has', async () => {
    const { engine, log: asked } = fakeEngine();
    const model = await file('same.gguf');
    const steps: string[] = [];
    const found = await compare(model, [model], {
      engine,
      texts,
      runs: 2,
      onProgress: ({ step, done, total }) => steps.push(`${step} ${done}/${total}`),
    });
    // BEGIN is likely followed by a, and each letter by the next one: all of `abcd` and `ab`,
    // nothing of `xa`.
    const logProb = 6 * LIKELY + 2 * OTHER;
    expect(found).toMatchObject({
      outputs: 'causal',
      texts: 3,
      tokens: 4 + 2 + 2 + 3,
      original: { bytes: 5, parameters: undefined },
    });
    expect(found.original).not.toHaveProperty('divergence');
    const [candidate] = found.candidates;
    expect(candidate).toMatchObject({
      divergence: { value: 0, low: 0, high: 0 },
      agreement: { value: 1, examples: 3 },
    });
    expect(candidate!.perplexity!.value).toBeCloseTo(Math.exp(-logProb / 8), 5);
    expect(candidate!.perplexity).toEqual(found.original.perplexity);
    expect(candidate!.latency.map(({ relative }) => relative!.value)).toEqual([1, 1]);
    expect(steps).toContain('texts 3/3');
    expect(steps.at(-1)).toMatch(/^speed (\d+)\/\1$/);
    expect(asked.closed).toBe(asked.opened);
  });

  it('says by how much embeddings turned', async () => {
    const model = await file('embedding.gguf');
    const other = await file('turned.gguf');
    const embedding = (tokens: readonly number[], turn: number): Outputs => {
      const angle = tokens.length * 0.3 + turn;
      const data = Float32Array.of(Math.cos(angle), Math.sin(angle));
      return { kind: 'embedding', rows: 1, size: 2, data, text: { logProb: 0, tokens: 0 } };
    };
    const { engine } = fakeEngine(
      (path): Partial<TokenModel> => ({ outputs: async (tokens) => embedding(tokens, path === model ? 0 : 0.1) }),
    );
    const found = await compare(model, [other], { engine, texts: ['a', 'abc', 'abcdefg'], runs: 0 });
    const [candidate] = found.candidates;
    expect(found.outputs).toBe('embedding');
    expect(candidate!.cosine!.value).toBeCloseTo(Math.cos(0.1), 6);
    expect(candidate!.rankCorrelation!.value).toBeCloseTo(1, 12);
    expect(candidate).toMatchObject({
      latency: [],
      loadMilliseconds: undefined,
    });
  });

  it('asks questions, and pairs their answers', async () => {
    const { engine } = fakeEngine();
    const model = await file('asked.gguf');
    const questions = ['b', 'c'].map((answer, id) => ({ id, kind: 'answer' as const, prompt: 'a', answer }));
    const found = await compare(model, [model], { engine, questions, runs: 0 });
    expect(found).toMatchObject({ outputs: undefined, texts: 0, questions: 2 });
    expect(found.candidates[0]!.accuracyChange).toMatchObject({ difference: 0, pairs: 2 });
    expect(found.original.summary!.accuracy!.examples).toBe(2);
  });

  it('refuses what cannot be compared', async () => {
    const [model, other] = [await file('a.gguf'), await file('b.gguf')];
    const { engine, log: asked } = fakeEngine((path) =>
      path === model ? {} : { tokenizer: 'others', encode: async (all) => all.map(() => [1, 1, 1]) },
    );
    await expect(compare(model, [], { engine, texts })).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    await expect(compare(model, [other], { engine })).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
    await expect(compare(model, [other], { engine, texts })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringMatching(/b\.gguf: its tokenizer gives other tokens/),
    });
    expect(asked.closed).toBe(asked.opened);
    const smaller = fakeEngine((path) =>
      path === model ? {} : { outputs: async (tokens) => logits(...tokens.map(() => [1, 2])) },
    );
    await expect(compare(model, [other], { engine: smaller.engine, texts })).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringMatching(/b\.gguf: returns logits of 5 x 2 .* but .*a\.gguf returns logits of 5 x 30/),
    });
    const broken = fakeEngine((path) =>
      path === model
        ? {}
        : { diverge: async () => ({ rows: 1, kl: Number.NaN, agreed: 0, text: { logProb: 0, tokens: 0 } }) },
    );
    await expect(compare(model, [other], { engine: broken.engine, texts })).rejects.toMatchObject({
      code: 'ERR_NOT_FINITE',
    });
  });

  it('stops when it is aborted, and closes the models', async () => {
    const { engine, log: asked } = fakeEngine();
    const model = await file('aborted.gguf');
    const controller = new AbortController();
    const run = compare(model, [model], {
      engine,
      texts,
      signal: controller.signal,
      onProgress: ({ step }) => step === 'speed' && controller.abort(new Error('enough')),
    });
    await expect(run).rejects.toThrow('enough');
    expect(asked.closed).toBe(2);
  });
});
