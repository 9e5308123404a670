import { describe, expect, it } from 'vitest';
import { factorize } from '../../../lib/lowrank/factorize.js';
import type { Moments } from '../../../lib/lowrank/moments.js';
import type { BlockFormat } from '../../../lib/quantize/block-format.js';
import { difference, productOf, quantizeCorrected, quantizeFactors } from '../../../lib/quantize/corrected.js';
import { quantizeBlocks, weightedSquares } from '../../../lib/quantize/quantize-matrix.js';
import { distance, gaussian, norm, product } from '../../support/matrices.js';

const FORMAT: BlockFormat = { bits: 4, block: 32, symmetric: true, scales: 'F16' };
const [M, N] = [48, 96] as const;

/** Moments of inputs with a few strong directions. */
function directed(): Moments {
  const x = gaussian([N, N], 21).data;
  const second = new Float64Array(N * N);
  for (let k = 0; k < N; k++) {
    const strength = k < 6 ? 40 : 0.2;
    for (let i = 0; i < N; i++)
      for (let j = 0; j < N; j++) second[i * N + j]! += strength * x[k * N + i]! * x[k * N + j]!;
  }
  return { kind: 'inputs', second };
}

describe('a correction', () => {
  const w = gaussian([M, N], 1);
  const moments = directed();

  it('takes most of what rounding loses, and far more than the factors of the plain error do', async () => {
    const { quantized, dense, loss } = await quantizeCorrected(w, FORMAT, { rank: 8, moments });
    const rest = difference(w.data, dense);
    expect((await weightedSquares({ data: rest, shape: [M, N] }, { moments })) / loss).toBeCloseTo(1, 6);
    const nearest = await quantizeBlocks(w, FORMAT, { moments, rounding: 'nearest' });
    const error = { data: difference(w.data, nearest.dense), shape: [M, N] };
    const without = await weightedSquares(error, { moments });
    expect(loss).toBeLessThan(0.3 * without);
    const plain = (await factorize(error, { rank: 8 })).reconstruct().data;
    expect(loss).toBeLessThan(
      0.5 * (await weightedSquares({ ...error, data: difference(error.data, plain) }, { moments })),
    );
    expect(quantized.format).toBe(FORMAT);
  });

  it('loses less the higher its rank, and no more after several rounds than after one', async () => {
    const lossOf = async (rank: number, rounds: number) =>
      (await quantizeCorrected(w, FORMAT, { rank, moments, rounds })).loss;
    expect(await lossOf(16, 1)).toBeLessThan(await lossOf(4, 1));
    expect(await lossOf(8, 3)).toBeLessThanOrEqual(await lossOf(8, 1));
  });

  it('is what it stores: codes of 8 bits with a scale for each component', async () => {
    const { quantized, factors, dense } = await quantizeCorrected(w, FORMAT, { rank: 5, moments });
    const { left, right, scales } = factors;
    const scaled = Float64Array.from(left, (code, at) => code * scales[at % 5]!);
    // [n, k] times [k, m] is the transpose.
    const turned = product(scaled, right, N, 5, M);
    const expected = quantized.dense.map((value, at) => value + turned[(at % N) * M + Math.floor(at / N)]!);
    expect(distance(dense, expected)).toBeLessThan(1e-5 * norm(expected));
  });

  it('keeps factors to less than a percent', () => {
    const [b, a] = [gaussian([M, 6], 3), gaussian([6, N], 4)];
    const stored = productOf(quantizeFactors(b, a));
    expect(distance(stored, product(b.data, a.data, M, 6, N))).toBeLessThan(0.02 * norm(stored));
    const zero = { data: new Float64Array(6 * N) as unknown as Float32Array, shape: [6, N] };
    expect(norm(productOf(quantizeFactors(b, zero)))).toBe(0);
  });
});
