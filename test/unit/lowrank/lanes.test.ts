import { describe, expect, it } from 'vitest';
import { laserSync } from '../../../lib/lowrank/laser.js';
import { jacobiSvd } from '../../support/jacobi.js';
import { distance, gaussian, norm, ofRank } from '../../support/matrices.js';

const EPSILON = 2 ** -23;

/** Matrices of m x n after each other. */
const stacked = (matrices: readonly Float32Array[], m: number, n: number) => ({
  data: Float32Array.from(matrices.flatMap((matrix) => [...matrix])),
  shape: [matrices.length, m, n],
});
const filled = (m: number, n: number, at: (i: number, j: number) => number) =>
  Float32Array.from({ length: m * n }, (_, i) => at(Math.floor(i / n), i % n));

/** Holds a certificate against a Jacobi SVD in float64 of the matrix brought to about one. */
function expectCertified(
  w: Float32Array,
  value: Float32Array,
  [m, n]: readonly [number, number],
  certificate: ReturnType<typeof laserSync.certified>['certificate'],
) {
  const largest = w.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const unit = largest > 0 ? 2 ** Math.floor(Math.log2(largest)) : 1;
  const scaled = Float64Array.from(w, (x) => x / unit);
  const { s } = jacobiSvd(scaled, m, n);
  const k = certificate.rank;
  const tail = norm(s.slice(k));
  const error = distance(
    scaled,
    Float64Array.from(value, (x) => x / unit),
  );
  expect(certificate.norm / unit / (norm(s) || 1)).toBeCloseTo(largest > 0 ? 1 : 0, 9);
  expect(certificate.relativeError * (certificate.norm / unit)).toBeCloseTo(error, 9);
  if (tail > 1e-9 * norm(s)) expect(error / tail - 1).toBeLessThanOrEqual(certificate.excessBound + 1e-9);
  const denormal = (Math.sqrt(m * n) * 2 ** -149) / unit;
  expect(error - tail).toBeLessThanOrEqual(8 * EPSILON * norm(s) + denormal);
  expect(Math.abs(certificate.spectralError / unit - (s[k] ?? 0))).toBeLessThanOrEqual(1e-5 * (s[0] ?? 0));
}

describe('small matrices side by side', () => {
  const SHAPES: [number, number, number][] = [
    [64, 64, 57],
    [64, 64, 12],
    [33, 17, 8],
    [17, 33, 9],
    [128, 128, 115],
    [40, 300, 20],
    [2, 2, 1],
    [3, 128, 2],
  ];

  it.each(SHAPES)('%d x %d at rank %d: the best approximation of each, and its proof', (m, n, rank) => {
    const w = gaussian([19, m, n], m + n);
    const { value, certificates } = laserSync.certified(w, { rank });
    for (const [i, certificate] of certificates.entries()) {
      const part = (data: Float32Array) => data.subarray(i * m * n, (i + 1) * m * n);
      // Of a few numbers, the next singular value may be too small for float32.
      if (Math.min(m, n) > 8) expect(certificate.methodsTried).toEqual(['gram']);
      if (i % 6 === 0) expectCertified(part(w.data), part(value.data), [m, n], certificate);
    }
  });

  it.each(SHAPES)('%d x %d at rank %d: the same bits in any batch, on any threads', (m, n, rank) => {
    const w = gaussian([21, m, n], m * n);
    const all = laserSync(w, { rank, threads: 1 }).data;
    for (const [count, threads] of [
      [21, 2],
      [9, 1],
      [7, 1],
      [4, 3],
    ] as const) {
      for (let i = 0; i + count <= 21; i += count) {
        const range = [i * m * n, (i + count) * m * n] as const;
        const { data } = laserSync({ data: w.data.slice(...range), shape: [count, m, n] }, { rank, threads });
        expect(data).toEqual(all.slice(...range));
      }
    }
  });

  it('keeps what is hard for one matrix away from its neighbours', () => {
    const [m, n] = [24, 20];
    const plain = gaussian([m, n], 5).data;
    const hard: Record<string, Float32Array> = {
      zero: new Float32Array(m * n),
      identity: filled(m, n, (i, j) => +(i === j)),
      'repeated values': filled(m, n, (i, j) => +(i === j) * [3, 1, 0.25][i % 3]!),
      'rank 1': ofRank(1, m, n).data,
      'rank 3': ofRank(3, m, n).data,
      constant: filled(m, n, () => 0.3),
      denormal: plain.map((x) => x * 2 ** -140),
      'scaled by 2^-60': plain.map((x) => x * 2 ** -60),
      'scaled by 2^60': plain.map((x) => x * 2 ** 60),
      'scaled by 2^-30': plain.map((x) => x * 2 ** -30),
      graded: filled(m, n, (i, j) => Math.sin(3 * i * j + i) * 10 ** (-9 * (i / m))),
      'one entry': filled(m, n, (i, j) => +(i === 7 && j === 11)),
      'equal blocks': filled(m, n, (i, j) => (i >> 2 === j >> 2 ? plain[(i % 4) * n + (j % 4)]! : 0)),
    };
    for (const rank of [1, 6, 14, 19]) {
      const matrices = [plain, ...Object.values(hard), plain];
      const { value, certificates } = laserSync.certified(stacked(matrices, m, n), { rank });
      for (const [i, matrix] of matrices.entries()) {
        const own = value.data.slice(i * m * n, (i + 1) * m * n);
        expectCertified(matrix, own, [m, n], certificates[i]!);
        const same = laserSync(stacked([matrix, matrix, matrix, matrix], m, n), { rank }).data;
        expect(own).toEqual(same.slice(0, m * n));
      }
      const [first, last] = [certificates[0]!, certificates.at(-1)!];
      expect(first.excessBound).toBe(last.excessBound);
      // A power of two changes nothing else.
      const scaled = value.data.slice(10 * m * n, 11 * m * n);
      expect(scaled.map((x) => x * 2 ** 30)).toEqual(value.data.slice(0, m * n));
    }
  });

  it('says where a NaN stands, and leaves a matrix in place as it was until it is accepted', () => {
    const w = gaussian([5, 12, 9]);
    const before = w.data.slice();
    w.data[3 * 108 + 4 * 9 + 2] = Number.NaN;
    expect(() => laserSync(w, { rank: 3, threads: 1 })).toThrow(/NaN at row 4, column 2/);
    expect(w.data.subarray(0, 3 * 108)).toEqual(before.subarray(0, 3 * 108));
    w.data.set(before);
    const expected = laserSync(w, { rank: 3 }).data;
    laserSync(w, { rank: 3, inPlace: true });
    expect(w.data).toEqual(expected);
  });
});
