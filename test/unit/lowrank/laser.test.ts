import { describe, expect, it } from 'vitest';
import { METHODS } from '../../../lib/lowrank/approximate.js';
import { factorize, factorizeSync } from '../../../lib/lowrank/factorize.js';
import { Laser, laser, laserSync } from '../../../lib/lowrank/laser.js';
import { tensor } from '../../../lib/tensor/create.js';
import type { Tensor } from '../../../lib/tensor/tensor.js';
import { jacobiSvd, truncate } from '../../support/jacobi.js';
import { distance, gaussian, norm, ofRank, orthonormality, product } from '../../support/matrices.js';

/** |W - W_k|_F by Eckart and Young, from a Jacobi SVD in float64. */
function optimum(w: Tensor, k: number): number {
  const { s } = jacobiSvd(w.data, w.shape[0]!, w.shape[1]!);
  return norm(s.subarray(k));
}

/**
 * How far a backward-stable W_k may lie from the true one: the singular subspaces turn by eps / gap
 * (Wedin 1972).
 */
function tolerance(s: Float64Array, k: number): number {
  const gap = k > 0 && k < s.length ? (s[k - 1]! - s[k]!) / s[0]! : 1;
  return 1e-6 * (1 + 0.2 / gap);
}

const SHAPES: [number, number][] = [
  [24, 24],
  [40, 15],
  [15, 40],
  [1, 20],
  [20, 1],
];

describe.each(METHODS)('laser, method %s', (method) => {
  it.each(SHAPES)('%i x %i: the best of every rank, by Eckart and Young', async (m, n) => {
    const w = gaussian([m, n], m);
    const reference = jacobiSvd(w.data, m, n);
    const scale = norm(w.data);
    for (let k = 0; k <= Math.min(m, n); k++) {
      const { value, certificate } = await laser.certified(w, { rank: k, method });
      expect(value.shape).toEqual([m, n]);
      expect(distance(value.data, truncate(reference, m, n, k)) / scale).toBeLessThan(tolerance(reference.s, k));
      expect(certificate.rank).toBe(k);
      expect(Math.abs(certificate.relativeError - distance(w.data, value.data) / scale)).toBeLessThan(1e-9);
      expect(Math.abs(certificate.relativeError - optimum(w, k) / scale)).toBeLessThan(1e-6);
      expect(certificate.discardedEnergy).toBeCloseTo(certificate.relativeError ** 2, 12);
      expect(Math.abs(certificate.spectralError - (reference.s[k] ?? 0)) / scale).toBeLessThan(1e-6);
      expect(certificate.norm).toBeCloseTo(scale, 9 - Math.ceil(Math.log10(scale)));
    }
  });

  it('at rank 0 is zero, at full rank the matrix to the bit', async () => {
    const w = gaussian([9, 7]);
    const all = await laser.certified(w, { rankFraction: 1, method });
    expect(all.value.data).toEqual(w.data);
    expect(all.value.data).not.toBe(w.data);
    expect(all.certificate).toMatchObject({ method: 'copy', relativeError: 0, spectralError: 0 });
    const none = await laser.certified(w, { rankFraction: 0, method });
    expect(none.value.data).toEqual(new Float32Array(63));
    expect(none.certificate).toMatchObject({ rank: 0, relativeError: 1 });
  });

  it('meets zero, rank-deficient and repeated spectra', async () => {
    const zero = await laser.certified(tensor(new Float32Array(30), [5, 6]), { rank: 2, method });
    expect(zero.value.data).toEqual(new Float32Array(30));
    expect(zero.certificate.relativeError).toBe(0);
    const deficient = ofRank(3, 20, 16);
    expect((await laser.certified(deficient, { rank: 5, method })).certificate.relativeError).toBeLessThan(1e-6);
    const identity = tensor(
      Float32Array.from({ length: 64 }, (_, i) => +(i % 9 === 0)),
      [8, 8],
    );
    expect((await laser.certified(identity, { rank: 3, method })).certificate.relativeError).toBeCloseTo(
      Math.sqrt(5 / 8),
      6,
    );
  });

  it.each([1e30, 1e-30, 1e-42])('is the same for a matrix scaled by %d', async (scale) => {
    const plain = gaussian([12, 9]);
    const w = tensor(
      plain.data.map((x) => x * scale),
      [12, 9],
    );
    const { value, certificate } = await laser.certified(w, { rank: 4, method });
    const reference = truncate(jacobiSvd(w.data, 12, 9), 12, 9, 4);
    expect(distance(value.data, reference) / norm(w.data)).toBeLessThan(scale < 1e-38 ? 2e-2 : 2e-6);
    expect(certificate.relativeError).toBeCloseTo(optimum(w, 4) / norm(w.data), scale < 1e-38 ? 1 : 5);
  });

  it('chooses the smallest rank for an energy or a tolerance', async () => {
    const w = gaussian([30, 20]);
    const { s } = jacobiSvd(w.data, 30, 20);
    const total = norm(s) ** 2;
    for (const energy of [0, 0.1, 0.5, 0.9, 0.99]) {
      const { certificate } = await laser.certified(w, { energy, method });
      const k = certificate.rank;
      expect(certificate.keptEnergy).toBeGreaterThanOrEqual(energy - 1e-6);
      if (k > 0) expect(norm(s.subarray(0, k - 1)) ** 2 / total).toBeLessThan(energy);
    }
    const { certificate } = await laser.certified(w, { tolerance: 0.3, method });
    expect(certificate.relativeError).toBeLessThanOrEqual(0.3 + 1e-6);
    expect(optimum(w, certificate.rank - 1) / norm(w.data)).toBeGreaterThan(0.3);
    // 9 of 10 are nine tenths, though 1 - 0.9 is less than a tenth in binary.
    const tenths = tensor(Float32Array.of(3, 0, 0, 1), [2, 2]);
    expect((await laser.certified(tenths, { energy: 0.9, method })).certificate.rank).toBe(1);
    expect((await laser.certified(ofRank(3, 20, 16), { energy: 0.999999, method })).certificate.rank).toBe(3);
  });

  it('treats a batch as its matrices', async () => {
    const batch = gaussian([6, 10, 8]);
    const { value, certificates, certificate } = await laser.certified(batch, { rank: 3, method });
    expect(value.shape).toEqual([6, 10, 8]);
    expect(certificates).toHaveLength(6);
    // `auto` works on small matrices side by side from four on: what matters is not the neighbours.
    const group = method === 'auto' ? 4 : 1;
    for (let i = 0; i + group <= 6; i++) {
      const some = tensor(batch.data.slice(i * 80, (i + group) * 80), group === 1 ? [10, 8] : [group, 10, 8]);
      const alone = laserSync(some, { rank: 3, method, threads: 1 });
      expect(value.data.slice(i * 80, (i + group) * 80)).toEqual(alone.data);
    }
    for (let i = 0; i < 6; i++) {
      const w = tensor(batch.data.slice(i * 80, (i + 1) * 80), [10, 8]);
      const { value: one } = laserSync.certified(w, { rank: 3, method });
      expect(distance(one.data, value.data.slice(i * 80, (i + 1) * 80))).toBeLessThan(1e-5 * norm(one.data));
    }
    expect(certificate.relativeError).toBeCloseTo(distance(batch.data, value.data) / norm(batch.data), 9);
    expect((await laser(tensor(new Float32Array(0), [0, 4, 4]), { rank: 2, method })).shape).toEqual([0, 4, 4]);
  });

  it('does not change its input, unless it works in place', async () => {
    const w = gaussian([16, 16]);
    const before = w.data.slice();
    const value = await laser(w, { rank: 4, method });
    expect(w.data).toEqual(before);
    const same = await laser(w, { rank: 4, method, inPlace: true });
    expect(same.data).toBe(w.data);
    expect(w.data).toEqual(value.data);
  });

  it('gives the same bits again, alone or among others', async () => {
    const w = gaussian([150, 130]);
    const first = laserSync(w, { rank: 20, method });
    const many = await Promise.all(Array.from({ length: 8 }, () => laser(w, { rank: 20, method })));
    for (const { data } of many) expect(data).toEqual(first.data);
  });

  it('refuses NaN and infinities by row and column', async () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const w = gaussian([5, 4]);
      w.data[17] = bad;
      for (const choice of [{ rank: 2 }, { rank: 0 }, { rank: 4 }, { energy: 0.5 }]) {
        await expect(laser(w, { ...choice, method })).rejects.toMatchObject({
          code: 'ERR_NOT_FINITE',
          message: expect.stringContaining('row 4, column 1'),
        });
      }
    }
  });

  it('keeps a memory limit or refuses', async () => {
    const w = gaussian([64, 64]);
    await expect(laser(w, { rank: 8, method, maxMemory: 1000 })).rejects.toMatchObject({ code: 'ERR_MEMORY' });
    const { certificate } = await laser.certified(w, { rank: 8, method, maxMemory: 10 ** 7 });
    expect(certificate.bytes).toBeLessThanOrEqual(10 ** 7);
  });
});

describe.each(METHODS)('factorize, method %s', (method) => {
  it.each(SHAPES)('%i x %i: factors with the properties of the SVD', async (m, n) => {
    const w = gaussian([m, n], 3);
    const k = Math.ceil(Math.min(m, n) / 2);
    const f = await factorize(w, { rank: k, method });
    expect([f.b.shape, f.a.shape, f.singularValues.shape, f.shape]).toEqual([[m, k], [k, n], [k], [m, n]]);
    expect(f.parameters).toBe(k * (m + n));
    expect(orthonormality(f.a.data, k, n, 'rows')).toBeLessThan(1e-5);
    const { s } = jacobiSvd(w.data, m, n);
    for (let i = 0; i < k; i++) expect(Math.abs(f.singularValues.data[i]! - s[i]!) / s[0]!).toBeLessThan(2e-6);
    const best = truncate(jacobiSvd(w.data, m, n), m, n, k);
    expect(distance(product(f.b.data, f.a.data, m, k, n), best) / norm(w.data)).toBeLessThan(tolerance(s, k));
    expect(distance(f.reconstruct().data, best) / norm(w.data)).toBeLessThan(tolerance(s, k));
    expect(f.certificate.relativeError).toBeCloseTo(optimum(w, k) / norm(w.data), 6);
  });

  it('applies without forming the matrix', async () => {
    const w = gaussian([12, 9]);
    const f = factorizeSync(w, { rank: 9, method });
    const x = gaussian([9, 5], 7);
    expect(distance(f.apply(x).data, product(w.data, x.data, 12, 9, 5))).toBeLessThan(1e-4);
    const column = f.apply(tensor(x.data.slice(0, 9), [9]));
    expect(column.shape).toEqual([12]);
    expect(distance(column.data, product(w.data, x.data.slice(0, 9), 12, 9, 1))).toBeLessThan(1e-4);
    expect(() => f.apply(gaussian([8, 5]))).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
  });

  it('truncates to any smaller rank as if it had been asked for', async () => {
    const w = gaussian([20, 14]);
    const f = await factorize(w, { rank: 10, method });
    for (const k of [0, 1, 4, 9, 10]) {
      const t = f.truncate(k);
      const direct = await factorize(w, { rank: k, method });
      expect(t.rank).toBe(k);
      expect(distance(t.reconstruct().data, direct.reconstruct().data) / norm(w.data)).toBeLessThan(2e-6);
      expect(t.certificate.relativeError).toBeCloseTo(direct.certificate.relativeError, 6);
      expect(t.certificate.spectralError).toBeCloseTo(direct.certificate.spectralError, 4);
    }
    expect(() => f.truncate(11)).toThrow(expect.objectContaining({ argument: 'rank' }));
  });

  it('pads the matrices of a batch whose ranks differ', async () => {
    const batch = new Float32Array(3 * 100);
    [1, 4, 2].forEach((k, i) => batch.set(ofRank(k, 10, 10, 5 * i + 1).data, i * 100));
    const f = await factorize(tensor(batch, [3, 10, 10]), { tolerance: 1e-4, method });
    expect(f.certificates.map((c) => c.rank)).toEqual([1, 4, 2]);
    expect([f.rank, f.b.shape, f.a.shape]).toEqual([4, [3, 10, 4], [3, 4, 10]]);
    expect(distance(f.reconstruct().data, batch) / norm(batch)).toBeLessThan(1e-5);
    const x = gaussian([3, 10, 2]);
    expect(distance(f.apply(x).data.slice(0, 20), product(batch.slice(0, 100), x.data, 10, 10, 2))).toBeLessThan(1e-4);
    expect(f.truncate(2).certificates.map((c) => c.rank)).toEqual([1, 2, 2]);
  });
});

describe('Laser', () => {
  it("is zeta's module: the shape stays, the rank is floor(fraction * min)", async () => {
    const l = new Laser(0.9);
    expect((await l.forward(gaussian([10, 10]))).shape).toEqual([10, 10]);
    const batch = await l.forward(gaussian([5, 10, 10]));
    expect(batch.shape).toEqual([5, 10, 10]);
    const one = l.forwardSync(gaussian([10, 10]));
    const { s } = jacobiSvd(one.data, 10, 10);
    expect(s[8]! / s[0]!).toBeGreaterThan(1e-4);
    expect(s[9]! / s[0]!).toBeLessThan(1e-6);
    expect(() => new Laser(1.5)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
    expect(() => new Laser(-0.1)).toThrow();
    expect((await new Laser(0).forward(gaussian([4, 4]))).data).toEqual(new Float32Array(16));
  });
});

describe('arguments', () => {
  it.each([
    [{}, 'options'],
    [{ rank: 1, rankFraction: 0.5 }, 'options'],
    [{ rank: 99 }, 'rank'],
    [{ rankFraction: 2 }, 'rankFraction'],
    [{ energy: -1 }, 'energy'],
    [{ tolerance: Number.NaN }, 'tolerance'],
    [{ rank: 1, method: 'magic' }, 'method'],
    [{ rank: 1, threads: 0 }, 'threads'],
    [{ rank: 1, maxMemory: -5 }, 'maxMemory'],
  ])('%o is refused by name', async (options, argument) => {
    await expect(laser(gaussian([4, 4]), options as { rank: number })).rejects.toMatchObject({ argument });
  });

  it.each([
    [{ data: new Float32Array(4), shape: [5] }, 'ERR_SHAPE'],
    [{ data: new Float32Array(4), shape: [2, 2, 1, 1] }, 'ERR_SHAPE'],
    [{ data: new Float32Array(5), shape: [2, 2] }, 'ERR_SHAPE'],
    [{ data: new Float32Array(0), shape: [0, 2] }, 'ERR_SHAPE'],
    [{ data: new Float64Array(4), shape: [2, 2] }, 'ERR_ARGUMENT'],
    [{ data: [1, 2, 3, 4], shape: [2, 2] }, 'ERR_ARGUMENT'],
    [{ shape: [2, 2] }, 'ERR_ARGUMENT'],
    [null, 'ERR_ARGUMENT'],
  ])('%o is no matrix', async (w, code) => {
    await expect(laser(w as never, { rank: 1 })).rejects.toMatchObject({ code });
  });
});
