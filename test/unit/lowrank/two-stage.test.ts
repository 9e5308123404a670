import { describe, expect, it } from 'vitest';
import { type ApproximateJob, CERTIFICATE_FIELDS, METHOD_CODE } from '../../../lib/addon/contract.js';
import { addon } from '../../../lib/addon/load.js';
import { svdSync } from '../../../lib/linalg/svd.js';
import { readCertificates } from '../../../lib/lowrank/certificate.js';
import { estimateMemory } from '../../../lib/lowrank/estimate.js';
import { laser, laserSync } from '../../../lib/lowrank/laser.js';
import { tensor } from '../../../lib/tensor/create.js';
import type { Tensor } from '../../../lib/tensor/tensor.js';
import { distance, gaussian, norm } from '../../support/matrices.js';

/** By the Gram matrix, which is brought to tridiagonal form in two stages although it is small. */
function approximate(w: Tensor, rank: number, change: Partial<ApproximateJob> = {}) {
  const [m, n] = w.shape as [number, number];
  const dense = new Float32Array(m * n);
  const out = new Float64Array(CERTIFICATE_FIELDS.length);
  const testHooks = { twoStages: true };
  addon().approximate({ batch: 1, m, n, w: w.data, rank, method: METHOD_CODE.gram, dense, out, testHooks, ...change });
  return { dense, certificate: readCertificates(out)[0]! };
}

describe('the tridiagonal form in two stages', () => {
  // The band has 64 diagonals on either side: orders within it, at its width, just beyond, and of
  // several panels.
  it.each([
    [50, 40],
    [64, 70],
    [65, 65],
    [130, 129],
    [150, 220],
    [260, 257],
  ])('%i x %i: gives the best approximation, and proves it', (m, n) => {
    const w = gaussian([m, n], m + n);
    const r = Math.min(m, n);
    const values = svdSync(w).s.data;
    for (const rank of [1, Math.floor(r / 4), Math.floor(r / 2)]) {
      const { dense, certificate } = approximate(w, rank);
      expect(certificate.method).toBe('gram');
      expect(certificate.excessBound).toBeLessThan(1e-5);
      expect(distance(dense, w.data) / norm(values.subarray(rank)) - 1).toBeLessThan(2e-6);
      expect(certificate.spectralError / values[rank]! - 1).toBeCloseTo(0, 4);
    }
  });

  it('takes matrices whose reflectors are trivial', () => {
    const n = 140;
    const diagonal = new Float32Array(n * n);
    for (let i = 0; i < n; i++) diagonal[i * n + i] = 1 + (i % 7);
    const constant = new Float32Array(n * n).fill(0.5);
    for (const data of [diagonal, constant]) {
      const { certificate } = approximate(tensor(data, [n, n]), 20);
      expect(certificate.methodsTried[0]).toBe('gram');
      // The 20 sevens of the diagonal are the largest of its values, and a constant matrix has rank
      // 1.
      const least = data === diagonal ? Math.sqrt(20 * (1 + 4 + 9 + 16 + 25 + 36)) : 0;
      expect(Math.abs(certificate.relativeError * certificate.norm - least)).toBeLessThan(1e-4 * certificate.norm);
    }
  });

  it('does not depend on the number of threads beyond rounding', () => {
    const w = gaussian([200, 190], 5);
    const { dense, certificate } = approximate(w, 60, { threads: 1 });
    for (const threads of [2, 3, 5]) {
      const other = approximate(w, 60, { threads });
      expect(distance(other.dense, dense) / certificate.norm).toBeLessThan(1e-6);
    }
  });

  it('is what large matrices take, and stops within 200 milliseconds of an abort', async () => {
    const w = gaussian([1800, 1800], 7);
    const estimate = estimateMemory(w.shape, { rank: 700 });
    const { certificate } = laserSync.certified(w, { rank: 700 });
    expect(certificate.methodsTried).toEqual(['gram']);
    expect(certificate.excessBound).toBeLessThanOrEqual(1e-6);
    expect(certificate.bytes).toBeLessThanOrEqual(estimate.native);
    const controller = new AbortController();
    const running = laser(w, { rank: 700, signal: controller.signal });
    await new Promise((resolve) => setTimeout(resolve, 60));
    const begin = performance.now();
    controller.abort();
    await expect(running).rejects.toMatchObject({ name: 'AbortError' });
    expect(performance.now() - begin).toBeLessThan(200);
  });
});
