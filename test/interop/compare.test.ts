import { writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { diverge, textLikelihood } from '../../lib/evaluate/engines/diverge.js';
import type { Outputs } from '../../lib/evaluate/engines/engine.js';
import { cosine, PairedSimilarities } from '../../lib/evaluate/metrics/similarity.js';
import { normal, uniform } from '../../lib/random.js';
import { temporaryPaths } from '../support/folder.js';
import { python, runPython, unlessNoPython } from './python.js';

const at = temporaryPaths();

describe.skipIf(!python)(`the figures of compare, beside NumPy${unlessNoPython}`, () => {
  it('agree in divergence, agreement, likelihood, cosine and rank correlation', async () => {
    const [rows, size] = [40, 300];
    const next = normal(uniform(7));
    const matrix = (scale: number, base?: Float32Array) =>
      Float32Array.from({ length: rows * size }, (_, i) => scale * next() + (base?.[i] ?? 0));
    const P = matrix(4);
    const Q = matrix(1, P);
    // Equal numbers, so that embeddings and similarities have ties.
    Q.copyWithin(size, 0, 2 * size);
    P.copyWithin(size, 0, size);
    const tokens = Array.from({ length: rows }, (_, i) => (i * 37) % size);
    const file = at('logits.json');
    await writeFile(file, JSON.stringify({ size, P: [...P], Q: [...Q], tokens }));
    const expected = JSON.parse(await runPython('compare_reference.py', file)) as Record<string, number>;

    const outputs = (data: Float32Array): Outputs => ({
      kind: 'logits',
      rows,
      size,
      data,
      text: textLikelihood(data, size, tokens),
    });
    const found = diverge(outputs(Q), outputs(P));
    expect(found.kl / expected.kl!).toBeCloseTo(1, 11);
    expect(found.agreed).toBe(expected.agreed);
    expect(found.text.logProb / expected.logProb!).toBeCloseTo(1, 11);
    const vectors = (data: Float32Array) =>
      Array.from({ length: rows }, (_, i) => data.subarray(i * size, (i + 1) * size));
    const [x, y] = [vectors(P), vectors(Q)];
    const mean = x.reduce((sum, vector, i) => sum + cosine(vector, y[i]!), 0) / rows;
    expect(mean).toBeCloseTo(expected.cosine!, 12);
    expect(new PairedSimilarities(x, y).correlation()).toBeCloseTo(expected.spearman!, 10);
  });
});
