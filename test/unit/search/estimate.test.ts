import { existsSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { estimateSearch } from '../../../lib/search/estimate.js';
import type { SearchOptions } from '../../../lib/search/settings.js';
import { temporaryPaths } from '../../support/folder.js';
import { LinearEngine, linearQuestions, writeLinearModel } from '../../support/linear-model.js';

const inFolder = temporaryPaths();
let model = '';
let options: Omit<SearchOptions, 'out' | 'engine'>;

beforeAll(async () => {
  model = await writeLinearModel(inFolder('model'));
  options = {
    validation: { questions: await linearQuestions(model, 40) },
    test: { questions: await linearQuestions(model, 20, 40) },
    rhos: [0.1, 0.5],
  };
});

describe('the estimate of a search', () => {
  it('counts candidates, matrices and questions, and asks only a few', async () => {
    const engine = new LinearEngine();
    const estimate = await estimateSearch(model, { ...options, engine });
    // Two layers with fc_in and fc_out, two shares each.
    expect(estimate).toMatchObject({ candidates: 8, matrices: 4, mostAsked: 40 + 8 * 40 });
    expect(estimate.questions).toEqual({ validation: 40, test: 20 });
    expect(engine.asked).toBeLessThan(20);
    expect(existsSync(inFolder('out'))).toBe(false);
    const { question, load, decompose, most } = estimate.seconds;
    expect(most).toBeCloseTo((estimate.mostAsked + 40) * question + 8 * load + decompose, 9);
    for (const seconds of [question, load, decompose]) expect(seconds).toBeGreaterThanOrEqual(0);
  });

  it('knows that composing asks more, and a guided search less', async () => {
    const composed = await estimateSearch(model, { ...options, engine: new LinearEngine(), compose: 'greedy' });
    expect(composed.mostAsked).toBe(40 + 2 * 8 * 40);
    const guided = await estimateSearch(model, { ...options, engine: new LinearEngine(), guided: true });
    expect(guided.mostAsked).toBeLessThanOrEqual(40 + (8 * 40) / 3);
  });

  it('decomposes nothing where numbers are only removed', async () => {
    const estimate = await estimateSearch(model, {
      ...options,
      engine: new LinearEngine(),
      kinds: ['dropout', 'zero'],
    });
    expect(estimate.seconds.decompose).toBe(0);
  });

  it('refuses what a search refuses', async () => {
    const missing = { ...options, engine: undefined as unknown as LinearEngine };
    await expect(estimateSearch(model, missing)).rejects.toThrow('engine');
    await expect(estimateSearch(model, { ...options, engine: new LinearEngine(), types: [] })).rejects.toThrow('types');
  });
});
