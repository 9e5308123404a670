import { describe, expect, it } from 'vitest';
import { type ApproximateJob, CERTIFICATE_FIELDS, METHOD_CODE } from '../../../lib/addon/contract.js';
import { addon } from '../../../lib/addon/load.js';
import { svdSync } from '../../../lib/linalg/svd.js';
import { readCertificates } from '../../../lib/lowrank/certificate.js';
import { factorizeSync } from '../../../lib/lowrank/factorize.js';
import { laser, laserSync } from '../../../lib/lowrank/laser.js';
import { tensor } from '../../../lib/tensor/create.js';
import type { Tensor } from '../../../lib/tensor/tensor.js';
import { distance, gaussian, norm, orthonormality } from '../../support/matrices.js';

/** A matrix with the given singular values and random singular vectors. */
function withSpectrum(m: number, n: number, s: (i: number) => number, seed = 1): Tensor {
  const { u, vt } = svdSync(gaussian([m, n], seed));
  const r = Math.min(m, n);
  const data = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let l = 0; l < r; l++) {
      const scaled = u.data[i * r + l]! * s(l);
      if (scaled === 0) continue;
      for (let j = 0; j < n; j++) data[i * n + j]! += scaled * vt.data[l * n + j]!;
    }
  }
  return tensor(data, [m, n]);
}

/** As trained weights decay. */
const decaying = (i: number) => (1 + i / 20) ** -0.7;

/** |W - W_k|_F from LAPACK's singular values: good to float32's rounding of the norm. */
const optimum = (w: Tensor, k: number) => norm(svdSync(w).s.data.subarray(k));

const SHAPES: [number, number][] = [
  [400, 300],
  [300, 400],
  [900, 256],
  [256, 900],
];

describe('block Lanczos', () => {
  it.each(SHAPES)('%i x %i: finds the best approximation, and proves it', (m, n) => {
    const w = withSpectrum(m, n, decaying, m);
    for (const rank of [1, 7, 25]) {
      const { value, certificate } = laserSync.certified(w, { rank, method: 'krylov' });
      expect(certificate.methodsTried).toEqual(['krylov']);
      expect(certificate.excessBound).toBeLessThanOrEqual(1e-6);
      expect(certificate.excessBound).toBeGreaterThan(0);
      const best = laserSync.certified(w, { rank, method: 'exact' });
      expect(certificate.relativeError / best.certificate.relativeError - 1).toBeLessThan(1e-6);
      expect(distance(value.data, best.value.data) / norm(w.data)).toBeLessThan(2e-3 * certificate.relativeError);
      expect(certificate.spectralError).toBeCloseTo(best.certificate.spectralError, 4);
    }
  });

  it.each(SHAPES)('%i x %i: its factors have the properties of the SVD', (m, n) => {
    const w = withSpectrum(m, n, decaying, n);
    const f = factorizeSync(w, { rank: 12, method: 'krylov' });
    expect(f.certificate.method).toBe('krylov');
    expect(orthonormality(f.a.data, 12, n, 'rows')).toBeLessThan(1e-4);
    const { s } = svdSync(w);
    for (let i = 0; i < 12; i++) expect(f.singularValues.data[i]! / s.data[i]! - 1).toBeLessThan(1e-5);
    for (const k of [1, 5, 11]) {
      const direct = factorizeSync(w, { rank: k, method: 'exact' }).certificate.relativeError;
      expect(f.truncate(k).certificate.relativeError / direct - 1).toBeLessThan(1e-5);
    }
  });

  it('a seed gives the same bits again, alone and among others; other seeds agree to the target', async () => {
    const w = withSpectrum(350, 300, decaying);
    const options = { rank: 10, method: 'krylov' } as const;
    const first = laserSync(w, options);
    const again = await Promise.all([laser(w, options), laser(w, { ...options, seed: 0 }), laser(w, options)]);
    for (const { data } of again) expect(data).toEqual(first.data);
    const other = laserSync.certified(w, { ...options, seed: 12345 });
    expect(other.value.data).not.toEqual(first.data);
    expect(
      Math.abs(other.certificate.relativeError / laserSync.certified(w, options).certificate.relativeError - 1),
    ).toBeLessThan(1e-6);
  });

  it('one huge outlier hides nothing', () => {
    const w = withSpectrum(300, 260, (i) => (i === 0 ? 1000 : decaying(i)));
    const { certificate } = laserSync.certified(w, { rank: 10 });
    // Float32 rounds the outlier by more than the target; what may be asked is its rounding,
    // relative to the whole.
    expect(certificate.relativeError * certificate.norm - optimum(w, 10)).toBeLessThan(
      16 * 2 ** -23 * certificate.norm,
    );
  });

  it('entries that all have one sign, whose mean is by far the largest singular value, stop nothing', () => {
    const noise = gaussian([700, 600], 3).data;
    const w = tensor(
      noise.map((x, i) => 1 + 3 * x * (1 + (i % 600)) ** -0.7),
      [700, 600],
    );
    const { certificate } = laserSync.certified(w, { rank: 20, method: 'krylov', target: 1e-3 });
    expect(certificate.methodsTried).toEqual(['krylov']);
    expect((certificate.relativeError * certificate.norm) / optimum(w, 20) - 1).toBeLessThan(1e-3);
  });

  it('a singular value that repeats more often than a block is wide is not missed', () => {
    // 90 copies of 10, more than three blocks: a Krylov space from 30 vectors holds 30 of them.
    const w = withSpectrum(320, 300, (i) => (i < 90 ? 10 : decaying(i)));
    for (const method of ['krylov', 'auto'] as const) {
      const { certificate } = laserSync.certified(w, { rank: 60, method });
      expect((certificate.relativeError * certificate.norm) / optimum(w, 60) - 1).toBeLessThan(1e-5);
      expect(certificate.method).not.toBe('krylov');
    }
  });

  it('a matrix of rank below k, or far below, is reproduced completely', () => {
    for (const rank of [3, 40]) {
      const w = withSpectrum(300, 280, (i) => (i < rank ? 1 + i : 0));
      for (const method of ['krylov', 'auto', 'gram', 'exact'] as const) {
        expect(laserSync.certified(w, { rank: 45, method }).certificate.relativeError).toBeLessThan(2e-6);
      }
    }
  });
});

describe('the planner', () => {
  function job(w: Tensor, change: Partial<ApproximateJob>): ApproximateJob {
    const [m, n] = w.shape as [number, number];
    const dense = new Float32Array(m * n);
    const out = new Float64Array(CERTIFICATE_FIELDS.length);
    return { batch: 1, m, n, w: w.data, rank: 12, method: METHOD_CODE.auto, dense, out, ...change };
  }

  it('hands over if a subspace of the allowed dimension does not contain the answer, as the certificate shows', () => {
    const w = withSpectrum(1100, 300, decaying);
    const short = job(w, { method: METHOD_CODE.krylov, testHooks: { maxDimension: 60 } });
    addon().approximate(short);
    const [certificate] = readCertificates(short.out);
    expect(certificate!.methodsTried).toEqual(['krylov', 'gram']);
    expect(certificate!.method).toBe('gram');
    expect(certificate!.excessBound).toBeLessThan(1e-6);
    expect(distance(short.dense!, laserSync(w, { rank: 12, method: 'exact' }).data) / norm(w.data)).toBeLessThan(1e-5);
  });

  it('leaves a search that will end late, as on a spectrum without gaps, unless it was asked for', () => {
    // Of Gaussian numbers block Lanczos needs 600 dimensions for 102 values; a spectrum that decays
    // takes 360.
    const w = gaussian([1024, 1024], 5);
    const given = laserSync.certified(w, { rank: 102, method: 'krylov' }).certificate;
    const chosen = laserSync.certified(w, { rank: 102 }).certificate;
    expect(given.methodsTried).toEqual(['krylov']);
    expect(chosen.methodsTried).toEqual(['krylov', 'gram']);
    expect(chosen.excessBound).toBeLessThan(1e-6);
    expect(chosen.relativeError / given.relativeError - 1).toBeCloseTo(0, 6);
  });

  it('goes to float64 when float32 cannot prove the target', () => {
    // After 40 the spectrum falls to 1e-3 of its head: squares in float32 know nothing of what lies
    // behind, and 40 directions are too many to take out first.
    const w = withSpectrum(300, 280, (i) => (i < 40 ? 1 : 1e-3 * decaying(i)));
    for (const [rank, routes] of [
      [60, ['gram', 'gram64']],
      [250, ['gram', 'complement']],
    ] as const) {
      const { certificate } = laserSync.certified(w, { rank });
      expect(certificate.methodsTried.filter((route) => route !== 'krylov')).toEqual(routes);
      const excess = (certificate.relativeError * certificate.norm) / optimum(w, rank) - 1;
      expect(excess).toBeLessThan(1e-3);
      expect(certificate.excessBound).toBeLessThan(1e-3);
    }
  });

  it('is content with less when a larger target is asked for', () => {
    const w = withSpectrum(600, 500, decaying);
    const loose = laserSync.certified(w, { rank: 40, method: 'krylov', target: 1e-2 }).certificate;
    const tight = laserSync.certified(w, { rank: 40, method: 'krylov' }).certificate;
    expect(loose.excessBound).toBeLessThanOrEqual(1e-2);
    expect(tight.excessBound).toBeLessThanOrEqual(1e-6);
    expect(loose.relativeError / tight.relativeError - 1).toBeLessThan(1e-2);
  });

  it('subtracts the discarded part if that is smaller', () => {
    const w = gaussian([200, 180]);
    const { value, certificate } = laserSync.certified(w, { rankFraction: 0.9 });
    expect(certificate.method).toBe('gram');
    expect(certificate.excessBound).toBeLessThan(1e-6);
    expect(distance(value.data, laserSync(w, { rankFraction: 0.9, method: 'exact' }).data) / norm(w.data)).toBeLessThan(
      1e-5,
    );
    expect(certificate.spectralError).toBeCloseTo(svdSync(w).s.data[162]!, 3);
    const inPlace = laserSync({ data: w.data.slice(), shape: w.shape }, { rankFraction: 0.9, inPlace: true });
    expect(inPlace.data).toEqual(value.data);
  });

  it('keeps a memory limit by taking a route that fits', () => {
    const w = gaussian([700, 600]);
    const need = (method: 'exact' | 'auto') => laserSync.certified(w, { rank: 100, method }).certificate.bytes;
    const limit = need('auto') + 100_000;
    expect(limit).toBeLessThan(need('exact'));
    expect(laserSync.certified(w, { rank: 100, maxMemory: limit }).certificate.bytes).toBeLessThanOrEqual(limit);
    expect(() => laserSync(w, { rank: 100, method: 'exact', maxMemory: limit })).toThrow(
      expect.objectContaining({
        code: 'ERR_MEMORY',
        message: expect.stringMatching(/needs \d+ bytes .* allowed are \d+/),
      }),
    );
  });

  it('costs microseconds on small matrices', () => {
    const w = gaussian([16, 16]);
    for (let i = 0; i < 200; i++) laserSync(w, { rank: 4 });
    const begin = performance.now();
    for (let i = 0; i < 500; i++) laserSync(w, { rank: 4 });
    expect((performance.now() - begin) / 500).toBeLessThan(0.5);
  });
});

describe('cancelling', () => {
  it('block Lanczos stops within 200 milliseconds', async () => {
    const w = gaussian([2000, 2000]);
    const controller = new AbortController();
    const running = laser(w, { rank: 300, method: 'krylov', signal: controller.signal });
    await new Promise((resolve) => setTimeout(resolve, 60));
    const begin = performance.now();
    controller.abort();
    await expect(running).rejects.toMatchObject({ name: 'AbortError' });
    expect(performance.now() - begin).toBeLessThan(200);
  });
});
