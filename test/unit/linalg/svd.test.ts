import { describe, expect, it } from 'vitest';
import { METHOD_CODE } from '../../../lib/addon/contract.js';
import {
  matrixRank,
  matrixRankSync,
  singularValues,
  singularValuesSync,
  svd,
  svdSync,
} from '../../../lib/linalg/svd.js';
import { tensor } from '../../../lib/tensor/create.js';
import type { Tensor } from '../../../lib/tensor/tensor.js';
import { jacobiSvd } from '../../support/jacobi.js';
import { distance, gaussian, norm, ofRank, orthonormality, product } from '../../support/matrices.js';

const EPSILON = 2 ** -23;

/** LAPACK's backward error grows slowly with the size; so does what may be asked of it. */
const bound = (m: number, n: number) => 16 * EPSILON * Math.sqrt(Math.max(m, n));

function expectSvd(w: Tensor, { u, s, vt }: { u: Tensor; s: Tensor; vt: Tensor }) {
  const [m, n] = w.shape as [number, number];
  const r = Math.min(m, n);
  expect([u.shape, s.shape, vt.shape]).toEqual([[m, r], [r], [r, n]]);
  const scale = norm(w.data) || 1;
  const us = Float64Array.from(u.data, (value, i) => value * s.data[i % r]!);
  expect(distance(w.data, product(us, vt.data, m, r, n)) / scale).toBeLessThan(bound(m, n));
  expect(orthonormality(u.data, m, r, 'columns')).toBeLessThan(bound(m, n));
  expect(orthonormality(vt.data, r, n, 'rows')).toBeLessThan(bound(m, n));
  for (let i = 0; i < r; i++) expect(s.data[i]!).toBeGreaterThanOrEqual(i + 1 < r ? s.data[i + 1]! : 0);
  const reference = jacobiSvd(w.data, m, n);
  expect(distance(s.data, reference.s) / scale).toBeLessThan(bound(m, n));
}

const CASES: [string, Tensor][] = [
  ['square', gaussian([40, 40])],
  ['tall', gaussian([90, 20])],
  ['very tall', gaussian([300, 7])],
  ['wide', gaussian([20, 90])],
  ['very wide', gaussian([7, 300])],
  ['a row', gaussian([1, 33])],
  ['a column', gaussian([33, 1])],
  ['one number', tensor(Float32Array.of(-3), [1, 1])],
  ['zero', tensor(new Float32Array(12 * 8), [12, 8])],
  ['rank 3 of 30', ofRank(3, 30, 30)],
  [
    'identity: all singular values equal',
    tensor(
      Float32Array.from({ length: 400 }, (_, i) => +(i % 21 === 0)),
      [20, 20],
    ),
  ],
  [
    'scaled to 1e30',
    tensor(
      gaussian([20, 30]).data.map((x) => x * 1e30),
      [20, 30],
    ),
  ],
  [
    'scaled to 1e-30',
    tensor(
      gaussian([20, 30]).data.map((x) => x * 1e-30),
      [20, 30],
    ),
  ],
];

describe('svd', () => {
  it.each(CASES)(
    '%s: reconstruction, orthonormality, order, and the values of a Jacobi SVD in float64',
    async (_, w) => {
      expectSvd(w, await svd(w));
      expectSvd(w, svdSync(w));
      expectSvd(w, svdSync(w, { driver: 'gesvd' }));
    },
  );

  it('gives the values alone as it gives them with vectors', async () => {
    const w = gaussian([50, 30]);
    const { s } = svdSync(w);
    expect(distance((await singularValues(w)).data, s.data) / norm(s.data)).toBeLessThan(1e-6);
    expect(singularValuesSync(w).shape).toEqual([30]);
  });

  it('treats a batch as its matrices', async () => {
    const batch = gaussian([5, 12, 9]);
    const { u, s, vt } = await svd(batch);
    expect([u.shape, s.shape, vt.shape]).toEqual([
      [5, 12, 9],
      [5, 9],
      [5, 9, 9],
    ]);
    for (let i = 0; i < 5; i++) {
      const one = svdSync(tensor(batch.data.slice(i * 108, (i + 1) * 108), [12, 9]), { threads: 1 });
      expect(s.data.slice(i * 9, (i + 1) * 9)).toEqual(one.s.data);
      expect(u.data.slice(i * 108, (i + 1) * 108)).toEqual(one.u.data);
    }
    expect((await svd(tensor(new Float32Array(0), [0, 3, 2]))).s.shape).toEqual([0, 2]);
  });

  it('does not modify its input, and takes dims as well as shape, shared memory, and views', async () => {
    const w = gaussian([8, 6]);
    const before = w.data.slice();
    const { s } = await svd(w);
    expect(w.data).toEqual(before);
    const shared = new Float32Array(new SharedArrayBuffer(4 * 48));
    shared.set(before);
    expect((await singularValues({ data: shared, dims: [8, 6] })).data).toEqual(singularValuesSync(w).data);
    const view = new Float32Array(60).subarray(5, 53);
    view.set(before);
    expect(svdSync({ data: view, shape: [8, 6] }).s.data).toEqual(s.data);
  });

  it('names the position of a NaN or an infinity', async () => {
    const w = gaussian([8, 6]);
    w.data[3 * 6 + 4] = Number.NaN;
    await expect(svd(w)).rejects.toMatchObject({
      code: 'ERR_NOT_FINITE',
      message: expect.stringContaining('NaN at row 3, column 4'),
    });
    w.data[2] = Number.NEGATIVE_INFINITY;
    expect(() => svdSync(w)).toThrow(/an infinity at row 0, column 2/);
  });

  it('refuses a matrix whose LAPACK workspace does not fit 32-bit integers, before it allocates', async () => {
    const { addon } = await import('../../../lib/addon/load.js');
    const job = (n: number) => ({ batch: 1, m: n, n, rank: 1, method: METHOD_CODE.exact, factors: true, dense: false });
    expect(() => addon().estimateApproximate(job(30000))).toThrow(/32-bit integers of LAPACK/);
    expect(addon().estimateApproximate(job(26000)).planned).toBeGreaterThan(4 * 26000 ** 2 * 3);
  });
});

describe('singularValues', () => {
  /** Random singular vectors around given singular values. */
  const withValues = (m: number, n: number, of: (i: number) => number): Tensor => {
    const { u, vt } = svdSync(gaussian([m, n], m + n));
    const r = Math.min(m, n);
    const us = Float64Array.from(u.data, (x, i) => x * of(i % r));
    return tensor(Float32Array.from(product(us, vt.data, m, r, n)), [m, n]);
  };
  const spectra: [string, (i: number, r: number) => number][] = [
    ['decaying', (i) => (1 + i / 20) ** -0.7],
    ['graded from 1 to 1e-9', (i, r) => 10 ** ((-9 * i) / (r - 1))],
    ['deficient', (i, r) => +(i < r / 3)],
    ['clustered', (i) => 2 ** -(i >> 4)],
    ['huge', (i) => 1e36 / (1 + i)],
    ['tiny', (i) => 1e-36 / (1 + i)],
  ];

  it.each(spectra)('%s: nearer to float64 than LAPACK in float32, within the bound', async (_, of) => {
    for (const [m, n] of [
      [90, 90],
      [140, 60],
      [60, 140],
    ] as const) {
      const r = Math.min(m, n);
      const w = withValues(m, n, (i) => of(i, r));
      const unit = 2 ** Math.floor(Math.log2(w.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0)));
      const reference = jacobiSvd(
        Float64Array.from(w.data, (x) => x / unit),
        m,
        n,
      ).s;
      const errorOf = (s: Float32Array) => s.map((x, i) => Math.abs(x / unit - reference[i]!));
      const errors = errorOf((await singularValues(w)).data);
      expect(singularValuesSync(w).data).toEqual((await singularValues(w)).data);
      const largest = reference[0]!;
      const rounding = 32 * 2 ** -52 * largest;
      for (const [i, error] of errors.entries()) {
        const s = reference[i]!;
        const bound = Math.min((rounding * largest) / s, Math.sqrt(rounding * largest));
        expect(error).toBeLessThanOrEqual(bound + s * EPSILON + 2 ** -149 / unit);
      }
      const lapack = errorOf(singularValuesSync(w, { driver: 'gesdd' }).data);
      expect(Math.max(...errors)).toBeLessThanOrEqual(Math.max(...lapack) + EPSILON * largest);
    }
  });

  it('counts the rank of a graded matrix that float32 cannot tell', () => {
    const n = 48;
    const w = withValues(n, n, (i) => (i < 20 ? 1 : i < 30 ? 2e-6 : 0));
    expect(matrixRankSync(w, { tolerance: 1e-6 })).toBe(30);
  });

  it('takes the way over a band where it is large', () => {
    const n = 1030;
    const diagonal = Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 + (i % 7) : 0));
    // A reflection on both sides keeps the values: I - 2 v v', with all of v equal.
    const reflect = (x: Float32Array, transposed: boolean) => {
      const at = (i: number, j: number) => (transposed ? j * n + i : i * n + j);
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let i = 0; i < n; i++) sum += x[at(i, j)]!;
        for (let i = 0; i < n; i++) x[at(i, j)]! -= (2 * sum) / n;
      }
    };
    const expected = diagonal.filter((_, i) => i % (n + 1) === 0).sort((x, y) => y - x);
    reflect(diagonal, false);
    reflect(diagonal, true);
    expect(distance(singularValuesSync(tensor(diagonal, [n, n])).data, expected)).toBeLessThan(1e-4);
  });

  it('says where a NaN or an infinity stands', () => {
    const w = gaussian([8, 6]);
    w.data[2 * 6 + 5] = Number.POSITIVE_INFINITY;
    expect(() => singularValuesSync(w)).toThrow(/an infinity at row 2, column 5/);
  });
});

// Printed to two and four decimals, so compared to half a unit of the last; a pair of vectors may
// change its sign.
describe('published examples of LAPACK', () => {
  const compare = (w: Tensor, s: number[], decimals: number) => {
    const values = svdSync(w).s.data;
    s.forEach((value, i) => expect(Math.abs(values[i]! - value)).toBeLessThan(0.51 * 10 ** -decimals));
    expectSvd(w, svdSync(w));
  };

  it('Intel, gesdd of a 6 x 4 matrix, row-major', () => {
    const w = tensor(
      Float32Array.of(
        ...[7.52, -1.1, -7.95, 1.08, -0.76, 0.62, 9.34, -7.1, 5.13, 6.62, -5.66, 0.87],
        ...[-4.75, 8.52, 5.75, 5.3, 1.33, 4.91, -5.49, -3.52, -2.4, -6.77, 2.34, 3.95],
      ),
      [6, 4],
    );
    compare(w, [18.37, 13.63, 10.85, 4.49], 2);
    const { u, vt } = svdSync(w);
    const column = [-0.57, 0.46, -0.45, 0.33, -0.32, 0.21];
    const sign = Math.sign(u.data[0]! * column[0]!);
    column.forEach((value, i) => expect(Math.abs(sign * u.data[i * 4]! - value)).toBeLessThan(0.0051));
    [-0.52, -0.12, 0.85, -0.03].forEach((value, j) =>
      expect(Math.abs(sign * vt.data[j]! - value)).toBeLessThan(0.0051),
    );
  });

  it('NAG, gesdd of a 4 x 6 matrix, and its transpose by gesvd', () => {
    const rows = [
      [2.27, 0.28, -0.48, 1.07, -2.35, 0.62],
      [-1.54, -1.67, -3.09, 1.22, 2.93, -7.39],
      [1.15, 0.94, 0.99, 0.79, -1.45, 1.03],
      [-1.94, -0.78, -0.21, 0.63, 2.3, -2.57],
    ];
    compare(tensor(Float32Array.from(rows.flat()), [4, 6]), [9.9966, 3.6831, 1.3569, 0.5], 4);
    const transposed = rows[0]!.flatMap((_, j) => rows.map((row) => row[j]!));
    const { s } = svdSync(tensor(Float32Array.from(transposed), [6, 4]), { driver: 'gesvd' });
    [9.9966, 3.6831, 1.3569, 0.5].forEach((value, i) => expect(s.data[i]).toBeCloseTo(value, 4));
  });

  it('[[2, 0, 0], [1, 2, 3]]: sqrt(9 +- sqrt(29)), rank 2', () => {
    const w = tensor(Float32Array.of(2, 0, 0, 1, 2, 3), [2, 3]);
    const { s } = svdSync(w);
    expect(s.data[0]).toBeCloseTo(Math.sqrt(9 + Math.sqrt(29)), 6);
    expect(s.data[1]).toBeCloseTo(Math.sqrt(9 - Math.sqrt(29)), 6);
    expect(matrixRankSync(w)).toBe(2);
  });
});

describe('when gesdd does not converge', () => {
  it('gesvd takes over, and the result shows it', async () => {
    const { addon } = await import('../../../lib/addon/load.js');
    const w = gaussian([30, 20]);
    const job = (extra: object) => ({
      batch: 1,
      m: 30,
      n: 20,
      w: w.data,
      s: new Float32Array(20),
      u: new Float32Array(600),
      vt: new Float32Array(400),
      out: new Float64Array(1),
      ...extra,
    });
    const failing = job({ testHooks: { pretendGesddFails: true } });
    addon().svd(failing);
    expect(failing.out[0]).toBe(1);
    expectSvd(w, {
      u: tensor(failing.u, [30, 20]),
      s: tensor(failing.s, [20]),
      vt: tensor(failing.vt, [20, 20]),
    });
    expect(svdSync(w).drivers).toEqual(['gesdd']);
    expect(svdSync(w, { driver: 'gesvd' }).drivers).toEqual(['gesvd']);
  });
});

describe('matrixRank', () => {
  it("counts with numpy's default tolerance, or the one given", async () => {
    expect(await matrixRank(ofRank(4, 15, 15))).toBe(4);
    expect(await matrixRank(ofRank(2, 10, 10))).toBe(2);
    expect(matrixRankSync(tensor(new Float32Array(6), [2, 3]))).toBe(0);
    expect(await matrixRank(tensor(Float32Array.of(3, 0, 0, 1), [2, 2]), { tolerance: 2 })).toBe(1);
    const batch = new Float32Array(18);
    batch.set(ofRank(1, 3, 3).data, 9);
    expect(await matrixRank(tensor(batch, [2, 3, 3]))).toEqual([0, 1]);
    await expect(matrixRank(ofRank(2, 4, 4), { tolerance: -1 })).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
  });
});
