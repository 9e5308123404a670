import { describe, expect, it } from 'vitest';
import { smoothingOf } from '../../../lib/quantize/smoothing.js';
import { gaussian } from '../../support/matrices.js';

const N = 24;
const second = Float64Array.from({ length: N }, (_, j) => (j % 6 === 0 ? 25 : 0.5 + j / N));

/** The largest magnitude in a column of any weight. */
const largest = (weights: readonly { data: Float32Array }[], j: number) =>
  Math.max(...weights.map(({ data }) => Math.max(...data.filter((_, at) => at % N === j).map(Math.abs))));

describe('smoothing', () => {
  const weights = [gaussian([8, N], 1), gaussian([5, N], 2)];

  it('makes inputs and columns of all weights that share them equally large', () => {
    const scales = smoothingOf(weights, { kind: 'diagonal', second })!;
    const ratios = [...scales].map((scale, j) => Math.sqrt(second[j]!) / scale / (largest(weights, j) * scale));
    for (const ratio of ratios) expect(ratio / ratios[0]!).toBeCloseTo(1, 4);
    expect(scales[0]).toBeGreaterThan(scales[1]!);
  });

  it('takes the diagonal of full moments', () => {
    const full = new Float64Array(N * N).fill(0.1);
    for (let j = 0; j < N; j++) full[j * N + j] = second[j]!;
    expect(smoothingOf(weights, { kind: 'inputs', second: full })).toEqual(
      smoothingOf(weights, { kind: 'diagonal', second }),
    );
  });

  it('leaves inputs that are always 0 as they are, and does nothing where all are', () => {
    const some = second.slice();
    some[3] = 0;
    expect(smoothingOf(weights, { kind: 'diagonal', second: some })![3]).toBe(1);
    expect(smoothingOf(weights, { kind: 'diagonal', second: new Float64Array(N) })).toBeUndefined();
  });
});
