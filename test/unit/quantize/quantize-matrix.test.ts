import { describe, expect, it } from 'vitest';
import type { Moments } from '../../../lib/lowrank/moments.js';
import { type BlockFormat, sizesOf } from '../../../lib/quantize/block-format.js';
import {
  quantizeBlocks,
  quantizeChannels,
  type Rounding,
  weightedSquares,
} from '../../../lib/quantize/quantize-matrix.js';
import type { Tensor } from '../../../lib/tensor/tensor.js';
import { failure } from '../../support/failure.js';
import { distance, gaussian, norm, product } from '../../support/matrices.js';

const format = (bits: 2 | 4 | 8, block: 16 | 32 | 64 | 128, symmetric = true): BlockFormat => ({
  ...{ bits, block, symmetric },
  scales: 'F32',
});
const FORMATS = [format(2, 16), format(2, 32, false), format(4, 32), format(4, 128, false), format(8, 64)];

/** Moments of inputs that are strongly correlated, from as many vectors as given. */
function correlated(n: number, vectors: number): Moments {
  const x = gaussian([vectors, n], 11).data;
  for (let i = 0; i < vectors; i++) {
    for (let j = 1; j < n; j++) x[i * n + j] = 0.9 * x[i * n + j - 1]! + (0.1 + (j % 5)) * 0.2 * x[i * n + j]!;
  }
  const second = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      for (let v = 0; v < vectors; v++) second[i * n + j]! += (x[v * n + i]! * x[v * n + j]!) / vectors;
    }
  }
  return { kind: 'inputs', second, count: vectors };
}

const diagonalOf = ({ second }: Moments, n: number): Moments => ({
  kind: 'diagonal',
  second: Float64Array.from({ length: n }, (_, j) => second[j * n + j]!),
});

async function lossOf(w: Tensor, of: BlockFormat, rounding: Rounding, moments: Moments | undefined) {
  const { dense } = await quantizeBlocks(w, of, { rounding, moments });
  return weightedSquares({ data: w.data.map((value, i) => value - dense[i]!), shape: w.shape }, { moments });
}

describe('what an error does', () => {
  it('is tr(E C E^T), by the diagonal sum C_jj E_ij^2, and without moments the sum of squares', async () => {
    const [m, n] = [7, 20] as const;
    const e = gaussian([m, n], 2);
    const moments = correlated(n, 30);
    const weighted = product(e.data, moments.second, m, n, n);
    const expected = weighted.reduce((sum, value, i) => sum + value * e.data[i]!, 0);
    expect(await weightedSquares(e, { moments })).toBeCloseTo(expected, 8);
    const diagonal = diagonalOf(moments, n);
    const alone = e.data.reduce((sum, value, i) => sum + value ** 2 * diagonal.second[i % n]!, 0);
    expect(await weightedSquares(e, { moments: diagonal })).toBeCloseTo(alone, 8);
    expect(await weightedSquares(e)).toBeCloseTo(norm(e.data) ** 2, 8);
  });

  it('is not known by moments of the outputs', async () => {
    const moments: Moments = { kind: 'outputs', second: new Float64Array(49) };
    expect(await failure(weightedSquares(gaussian([7, 20]), { moments }))).toMatchObject({ code: 'ERR_ARGUMENT' });
  });
});

describe('a matrix in blocks', () => {
  it.each(FORMATS)('has codes, scales and zero points of the sizes that the format states: %o', async (of) => {
    const { codes, scales, zeros } = await quantizeBlocks(gaussian([5, 100]), of);
    const sizes = sizesOf(of, 5, 100);
    expect([codes.length, scales.length, zeros?.length ?? 0]).toEqual([sizes.codes, sizes.scales, sizes.zeros]);
  });

  it.each(FORMATS)('keeps numbers that its codes can say: %o', async (of) => {
    const middle = 2 ** (of.bits - 1);
    // Every block has the smallest code, which fixes its scale.
    const w = Float32Array.from({ length: 3 * 256 }, (_, i) => (i % 16 === 0 ? -middle : (i % (middle + 1)) - 1) / 8);
    const at = { data: w.map((value) => Math.min(value, (middle - 1) / 8)), shape: [3, 256] };
    const rounding = of.symmetric ? 'spanning' : 'nearest';
    const { dense } = await quantizeBlocks(at, of, { rounding });
    expect(distance(dense, at.data)).toBeLessThan(1e-6 * norm(at.data));
  });

  it.each(FORMATS)(
    'loses less with the best scales, and less still where numbers make up for others: %o',
    async (of) => {
      const n = 128;
      const w = gaussian([24, n], 3);
      const moments = correlated(n, 400);
      const diagonal = diagonalOf(moments, n);
      expect(await lossOf(w, of, 'nearest', undefined)).toBeLessThanOrEqual(await lossOf(w, of, 'spanning', undefined));
      const [spanning, nearest] = [await lossOf(w, of, 'spanning', diagonal), await lossOf(w, of, 'nearest', diagonal)];
      expect(nearest).toBeLessThanOrEqual(spanning);
      const compensated = await lossOf(w, of, 'compensated', moments);
      expect(compensated).toBeLessThan(0.7 * (await lossOf(w, of, 'nearest', moments)));
    },
  );

  it('takes moments of fewer vectors than inputs, and inputs that are always 0', async () => {
    const n = 64;
    const w = gaussian([8, n], 4);
    const few = correlated(n, 10);
    for (let j = 0; j < n; j++) few.second[j * n + 5] = few.second[5 * n + j] = 0;
    const loss = await lossOf(w, format(4, 32), 'compensated', few);
    expect(loss).toBeLessThan(await lossOf(w, format(4, 32), 'nearest', few));
    const none: Moments = { kind: 'inputs', second: new Float64Array(n * n) };
    const { dense } = await quantizeBlocks(w, format(8, 32), { moments: none });
    expect(distance(dense, w.data)).toBeLessThan(0.01 * norm(w.data));
  });

  it('is the same on any number of threads', async () => {
    const w = gaussian([200, 192], 5);
    const moments = correlated(192, 300);
    const [one, two] = await Promise.all(
      [1, 2].map((threads) => quantizeBlocks(w, format(4, 64), { moments, threads })),
    );
    expect(two).toEqual(one);
  });

  it('takes one number, zeros, and tiny and huge ones', async () => {
    for (const data of [[3], [0, 0, 0], [1e-38, -1e-38], [1e30, -2e30, 5e29]]) {
      const w = { data: Float32Array.from(data), shape: [1, data.length] };
      for (const scales of ['F32', 'F16'] as const) {
        const { dense } = await quantizeBlocks(w, { ...format(8, 16), scales });
        expect(dense.every(Number.isFinite)).toBe(true);
        if (scales === 'F32' && data[0] !== 1e-38)
          expect(distance(dense, w.data)).toBeLessThanOrEqual(0.01 * norm(w.data));
      }
    }
  });

  it('refuses numbers that are not finite, by row and column, and moments that are none', async () => {
    const w = gaussian([4, 32]);
    const broken = { ...w, data: w.data.slice().fill(Number.NaN, 40, 41) };
    const refused = await failure(quantizeBlocks(broken, format(4, 32)));
    expect(refused).toMatchObject({ code: 'ERR_NOT_FINITE' });
    expect(refused.message).toContain('row 1');
    const negative: Moments = { kind: 'inputs', second: new Float64Array(32 * 32).fill(-1) };
    expect(await failure(quantizeBlocks(w, format(4, 32), { moments: negative }))).toMatchObject({
      code: 'ERR_ARGUMENT',
    });
    const short: Moments = { kind: 'diagonal', second: new Float64Array(31) };
    expect(await failure(quantizeBlocks(w, format(4, 32), { moments: short }))).toMatchObject({ code: 'ERR_SHAPE' });
    const odd = { ...format(4, 32), block: 24 as 32 };
    expect(await failure(quantizeBlocks(w, odd))).toMatchObject({ code: 'ERR_ARGUMENT' });
    expect(await failure(quantizeBlocks(w, format(4, 32), { rounding: 'compensated' }))).toMatchObject({
      code: 'ERR_ARGUMENT',
    });
  });
});

describe('a matrix as int8', () => {
  it('is within half a step, with neighbouring codes whose products with inputs fit into 16 bits', async () => {
    const [m, n] = [9, 50] as const;
    const w = gaussian([m, n], 6);
    w.data[3] = 8;
    const { codes, scales } = await quantizeChannels(w);
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        const code = codes[j * m + i]!;
        expect(Math.abs(code * scales[i]! - w.data[i * n + j]!)).toBeLessThanOrEqual(0.5001 * scales[i]!);
        if (j % 2 === 1) expect(Math.abs(code) + Math.abs(codes[(j - 1) * m + i]!)).toBeLessThanOrEqual(128);
      }
    }
    expect(Math.max(...codes.map(Math.abs))).toBeGreaterThan(100);
  });
});
