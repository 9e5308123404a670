import { describe, expect, it } from 'vitest';
import { svdSync } from '../../../lib/linalg/svd.js';
import { factorizeSync } from '../../../lib/lowrank/factorize.js';
import { laserSync } from '../../../lib/lowrank/laser.js';
import { tensor } from '../../../lib/tensor/create.js';
import type { Tensor } from '../../../lib/tensor/tensor.js';
import { gaussian, norm, orthonormality } from '../../support/matrices.js';

const ORDER = 210;

/** A square matrix from its diagonal and the one above: its Gram matrix is tridiagonal. */
function bidiagonal(diagonal: (i: number) => number, above: (i: number) => number): Tensor {
  const data = new Float32Array(ORDER * ORDER);
  for (let i = 0; i < ORDER; i++) {
    data[i * ORDER + i] = diagonal(i);
    if (i + 1 < ORDER) data[i * ORDER + i + 1] = above(i);
  }
  return tensor(data, [ORDER, ORDER]);
}

/** The factor B of the tridiagonal matrix BᵀB with this diagonal and off-diagonal. */
function factorOf(diagonal: (i: number) => number, offDiagonal: (i: number) => number): Tensor {
  const b: number[] = [];
  for (let i = 0; i < ORDER; i++) b.push(Math.sqrt(diagonal(i) - (i > 0 ? (offDiagonal(i - 1) / b[i - 1]!) ** 2 : 0)));
  return bidiagonal(
    (i) => b[i]!,
    (i) => offDiagonal(i) / b[i]!,
  );
}

/**
 * Blocks of Wilkinson's W21, shifted to be positive, with `glue` between them: 21 clusters of ten
 * eigenvalues each.
 */
const glued = (glue: number) =>
  factorOf(
    (i) => 12.5 + Math.abs((i % 21) - 10),
    (i) => (i % 21 === 20 ? glue : 1),
  );

const MATRICES: Record<string, Tensor> = {
  identity: bidiagonal(
    () => 1,
    () => 0,
  ),
  'a diagonal of few values': bidiagonal(
    (i) => 1 + (i % 7),
    () => 0,
  ),
  'a Jordan block': bidiagonal(
    () => 1,
    () => 0.5,
  ),
  'Wilkinson glued by 1e-2': glued(1e-2),
  'Wilkinson glued by 1e-5': glued(1e-5),
  'Wilkinson glued by 1e-9': glued(1e-9),
  'one huge value': bidiagonal(
    (i) => (i === 3 ? 1000 : 1 + i / ORDER),
    () => 0.1,
  ),
  graded: bidiagonal(
    (i) => 10 ** (-i / 40),
    (i) => 0.3 * 10 ** (-i / 40),
  ),
  'two values, each repeated': bidiagonal(
    (i) => (i % 2 ? 1 : 2),
    () => 0,
  ),
};

describe.each(Object.entries(MATRICES))('the Gram matrix of %s', (_, w) => {
  const { s } = svdSync(w);
  const size = norm(w.data);

  it.each([1, 20, 105, 190, 209])('rank %i: the best approximation, within its certificate', (rank) => {
    for (const method of ['gram', 'auto'] as const) {
      const { certificate } = laserSync.certified(w, { rank, method });
      const error = certificate.relativeError * certificate.norm;
      // LAPACK's singular values in float32 are good to this.
      const doubt = 4e-6 * size;
      const best = norm(s.data.subarray(rank));
      expect(error).toBeLessThan(best + doubt);
      expect(error / (1 + certificate.excessBound)).toBeLessThan(best + doubt);
      expect(Math.abs(certificate.spectralError - s.data[rank]!)).toBeLessThan(2e-5 * s.data[0]!);
    }
  });

  it('factors have orthonormal rows', () => {
    const f = factorizeSync(w, { rank: 100, method: 'gram' });
    expect(orthonormality(f.a.data, 100, ORDER, 'rows')).toBeLessThan(2e-5);
  });
});

describe('a rank chosen by the float32 spectrum', () => {
  const shapes: [number, number][] = [
    [160, 130],
    [130, 160],
  ];
  it.each(shapes)('%i x %i: is that of the singular values, whatever the share', (m, n) => {
    const w = gaussian([m, n]);
    const s = Array.from(svdSync(w).s.data, Number);
    const whole = s.reduce((sum, x) => sum + x * x, 0);
    for (let step = 1; step < 60; step++) {
      const energy = step / 60;
      const { certificate } = laserSync.certified(w, { energy });
      let k = 0;
      for (let kept = 0; kept < energy * whole; k++) kept += s[k]! ** 2;
      expect(certificate.rank).toBe(k);
      expect(certificate.method).toBe('gram');
      expect(1 - certificate.relativeError ** 2).toBeGreaterThanOrEqual(energy - 1e-6);
    }
  });

  it('goes to float64 where rounding would decide', () => {
    // A share that the float32 approximation of rank 60 misses by less than it misses the best one.
    const w = gaussian([150, 140]);
    const { relativeError } = laserSync.certified(w, { rank: 60, method: 'gram' }).certificate;
    const { certificate } = laserSync.certified(w, { energy: 1 - relativeError ** 2 * (1 - 1e-12) });
    expect(certificate.methodsTried.slice(0, 2)).toEqual(['gram', 'gram64']);
    expect([60, 61]).toContain(certificate.rank);
  });
});
