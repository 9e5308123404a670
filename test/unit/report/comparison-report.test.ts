import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { writeReport } from '../../../lib/entries/search.js';
import { frontOf } from '../../../lib/report/front.js';
import { temporaryPaths } from '../../support/folder.js';
import { named, parseHtml, textOf } from './html-parser.js';

const at = temporaryPaths();

const estimate = (value: number | null) => ({ value, low: value, high: value, examples: 4 });
const model = (checkpoint: string, bytes: number, milliseconds: number, kl?: number | null) => ({
  checkpoint,
  bytes,
  parameters: 1000,
  perplexity: estimate(40),
  ...(kl === undefined ? {} : { divergence: estimate(kl), agreement: estimate(0.9) }),
  loadMilliseconds: 3,
  latency: [
    {
      kind: 'whole',
      batch: 1,
      length: 16,
      milliseconds: estimate(milliseconds),
      ...(kl === undefined ? {} : { relative: estimate(milliseconds / 10) }),
    },
  ],
});
const comparison = (...candidates: object[]) => ({
  engine: 'onnx',
  outputs: 'causal',
  texts: 4,
  tokens: 99,
  questions: 0,
  original: model('original', 1000, 10),
  candidates,
  seconds: 2,
});

async function reportOf(document: unknown): Promise<string> {
  await writeFile(at('compared.json'), JSON.stringify(document));
  return readFile(await writeReport(at('compared.json')), 'utf8');
}

describe('the report of a comparison', () => {
  it('draws a front over the size and over each latency, with a point for each model', async () => {
    const page = parseHtml(await reportOf(comparison(model('small<b>', 500, 6, 0.1), model('worse', 700, 8, 0.3))));
    const figures = named(page, 'svg');
    expect(figures).toHaveLength(2);
    for (const figure of figures) {
      expect(named(figure, 'circle')).toHaveLength(3);
      // "worse" is larger, slower and further away than "small<b>".
      expect(named(figure, 'circle').filter(({ attributes }) => attributes.get('class') === 'better')).toHaveLength(2);
      expect(textOf(figure)).toContain('Not beaten by another: small<b>, original.');
    }
    expect(textOf(page)).toContain('KL over size');
    expect(textOf(page)).toContain('KL over 1 × 16 tokens');
    expect(textOf(page)).toContain('4 texts of 99 tokens');
  });

  it('says whether an accuracy differs from the original by more than chance', async () => {
    const asked = (made: object, change?: object) => ({
      ...made,
      summary: { accuracy: { value: 0.5, low: 0.4, high: 0.6, examples: 100 } },
      ...(change && { accuracyChange: { metric: 'accuracy', difference: 0.1, pairs: 100, better: 0.9, ...change } }),
    });
    const document = {
      ...comparison(
        asked(model('sure', 500, 6, 0.1), { low: 0.02, high: 0.2 }),
        asked(model('unsure', 500, 6, 0.1), { low: -0.02, high: 0.2 }),
      ),
      original: asked(model('original', 1000, 10)),
    };
    const text = textOf(parseHtml(await reportOf(document)));
    expect(text.match(/50\.00 % \(40\.00 % to 60\.00 %\)(, (not )?significant)?/g)).toEqual([
      '50.00 % (40.00 % to 60.00 %)',
      '50.00 % (40.00 % to 60.00 %), significant',
      '50.00 % (40.00 % to 60.00 %), not significant',
    ]);
    const bad = { ...document, candidates: [{ ...model('a', 1, 1), accuracyChange: { low: 'x' } }] };
    await expect(reportOf(bad)).rejects.toThrow(/accuracyChange/);
  });

  it('leaves out the figure of what is infinite or was not measured', async () => {
    const page = parseHtml(await reportOf(comparison(model('broken', 500, 6, null))));
    // The agreement is still a number.
    expect(textOf(page)).toContain('top-1 agreement over size');
    expect(textOf(page)).toContain('∞');
    const { divergence, agreement, perplexity, ...bare } = model('bare', 500, 6, 0.1) as Record<string, unknown>;
    expect(named(parseHtml(await reportOf(comparison(bare))), 'svg')).toHaveLength(0);
  });

  it('is not made of anything else', async () => {
    const refused = { code: 'ERR_OUTPUT', kind: 'NotALog' };
    await expect(reportOf({ ...comparison(), original: undefined })).rejects.toMatchObject(refused);
    await expect(reportOf(comparison())).rejects.toMatchObject(refused);
    await expect(reportOf(comparison({ ...model('a', 5, 6, 0.1), bytes: -1 }))).rejects.toMatchObject(refused);
  });
});

describe('a front', () => {
  const point = (cost: number, quality: number) => ({ name: `${cost}`, cost, quality });

  it('has the points that no other one beats, and all of equal ones', () => {
    const points = [point(3, 9), point(1, 5), point(2, 5), point(2, 7), point(2, 7), point(4, 9)];
    expect(frontOf(points, false).map(({ cost, quality }) => [cost, quality])).toEqual([
      [1, 5],
      [2, 7],
      [2, 7],
      [3, 9],
    ]);
    expect(frontOf(points, true).map(({ cost, quality }) => [cost, quality])).toEqual([[1, 5]]);
  });
});
