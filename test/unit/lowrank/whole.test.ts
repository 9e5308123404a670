import { describe, expect, it } from 'vitest';
import { factorizeSync } from '../../../lib/lowrank/factorize.js';
import { tensor } from '../../../lib/tensor/create.js';
import type { Tensor } from '../../../lib/tensor/tensor.js';
import { jacobiSvd } from '../../support/jacobi.js';
import { distance, gaussian, norm, ofRank, orthonormality, product } from '../../support/matrices.js';

const EPSILON = 2 ** -23;

/** Gaussian numbers whose columns, or rows, shrink by `decay` from the first to the last. */
function graded(m: number, n: number, decay: number, side: 'columns' | 'rows'): Tensor {
  const { data } = gaussian([m, n]);
  const scale = (i: number) => decay ** (side === 'columns' ? (i % n) / (n - 1) : Math.floor(i / n) / (m - 1));
  return tensor(
    data.map((x, i) => x * scale(i)),
    [m, n],
  );
}

const outlier = (m: number, n: number) => {
  const { data } = gaussian([m, n]);
  return tensor(
    data.map((x, i) => x + 100 * (1 + (Math.floor(i / n) % 3)) * (1 + (i % 2))),
    [m, n],
  );
};

const MATRICES: [string, Tensor, string][] = [
  ['gaussian', gaussian([130, 104]), 'gram'],
  ['gaussian, wide', gaussian([104, 130]), 'gram'],
  ['columns down to 1e-3', graded(130, 104, 1e-3, 'columns'), 'gram'],
  ['rows down to 1e-3', graded(110, 130, 1e-3, 'rows'), 'gram'],
  ['columns down to 1e-7', graded(120, 100, 1e-7, 'columns'), 'gram'],
  ['outlier', outlier(130, 104), 'gram'],
  ['outlier, wide', outlier(104, 130), 'gram'],
  ['rank 20', ofRank(20, 120, 100), ''],
];

describe.each(MATRICES)('all components of %s', (_, w, method) => {
  const [m, n] = w.shape as [number, number];
  const r = Math.min(m, n);
  const { s } = jacobiSvd(w.data, m, n);
  const size = norm(w.data);
  const f = factorizeSync(w, { rank: r });

  it('come from float32, and are those of a Jacobi SVD in float64', () => {
    if (method) expect(f.certificate.method).toBe(method);
    for (let i = 0; i < r; i++) {
      expect(Math.abs(f.singularValues.data[i]! - s[i]!)).toBeLessThan(1e-5 * s[0]!);
      expect(f.singularValues.data[i]!).toBeLessThanOrEqual(f.singularValues.data[Math.max(i - 1, 0)]!);
    }
  });

  it('are orthonormal, and their product is the matrix', () => {
    expect(orthonormality(f.a.data, r, n, 'rows')).toBeLessThan(2e-5);
    const left = distance(w.data, product(f.b.data, f.a.data, m, r, n));
    expect(left).toBeLessThan(8 * EPSILON * size);
    expect(f.certificate.relativeError).toBeCloseTo(left / size, 9);
  });

  it.each([1, 10, 50, 90])('cut to rank %i, are the best within their certificate', (rank) => {
    const cut = f.truncate(rank);
    const error = distance(w.data, product(cut.b.data, cut.a.data, m, rank, n));
    const best = Math.sqrt(s.slice(rank).reduce((sum, x) => sum + x * x, 0));
    if (best < 1e-6 * size) return; // nothing but rounding is left
    const { excessBound, relativeError } = cut.certificate;
    expect(error).toBeLessThan(best * (1 + excessBound) * (1 + 1e-9));
    expect(Math.abs(error / size / relativeError - 1)).toBeLessThan(1e-3);
    expect(error).toBeLessThan(best * (1 + 1e-4));
  });
});

describe('energy: 1', () => {
  it('keeps all components, by the same way', () => {
    const { certificate } = factorizeSync(gaussian([140, 110]), { energy: 1 });
    expect([certificate.rank, certificate.method]).toEqual([110, 'gram']);
  });

  it('lets float64 decide where the last value may be 0', () => {
    const { certificate } = factorizeSync(ofRank(20, 120, 100), { energy: 1 });
    expect(certificate.method).not.toBe('gram');
  });
});
