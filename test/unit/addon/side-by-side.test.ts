import { describe, expect, it } from 'vitest';
import { countBeside, sideBySide } from '../../../lib/addon/side-by-side.js';
import { singularValuesBeside } from '../../../lib/linalg/svd.js';
import { approximate } from '../../../lib/lowrank/approximate.js';
import { gaussian } from '../../support/matrices.js';

describe('countBeside', () => {
  it('takes as many as there are threads, where the largest fit together', () => {
    expect(countBeside([1, 5, 3, 2], 3, 10)).toBe(3);
    expect(countBeside([1, 5, 3, 2], 3, 9)).toBe(2);
    expect(countBeside([1, 5, 3, 2], 8, 100)).toBe(4);
  });

  it('takes one where nothing fits', () => {
    expect(countBeside([50, 50], 4, 10)).toBe(1);
    expect(countBeside([], 4, 10)).toBe(1);
  });
});

describe('sideBySide', () => {
  it('begins in order, and never more than allowed', async () => {
    const begun: number[] = [];
    let running = 0;
    let most = 0;
    await sideBySide([5, 1, 4, 2, 3], { count: 2, threads: 4 }, async (item, { alongside }) => {
      begun.push(item);
      expect(alongside).toBe(2);
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, item));
      running--;
    });
    expect(begun).toEqual([5, 1, 4, 2, 3]);
    expect(most).toBe(2);
  });

  it('gives a single item all cores', async () => {
    await sideBySide([1], { count: 2, threads: 2 }, async (_, beside) => expect(beside).toEqual({}));
    await sideBySide([1, 2], { count: 1, threads: 2 }, async (_, beside) => expect(beside).toEqual({}));
  });

  it('throws the failure of the first item that failed, when those that run have ended', async () => {
    const ended: number[] = [];
    const failing = sideBySide([0, 1, 2, 3], { count: 2, threads: 2 }, async (item) => {
      await new Promise((resolve) => setTimeout(resolve, item === 0 ? 20 : 1));
      ended.push(item);
      if (item < 2) throw new Error(`item ${item}`);
    });
    await expect(failing).rejects.toThrow('item 0');
    expect(ended).toEqual([1, 0]);
  });
});

describe('a matrix beside others', () => {
  const w = gaussian([300, 260]);

  it.each([
    { rank: 20 },
    { rank: 100 },
    { rank: 200 },
    { energy: 0.9 },
    { rank: 130, target: 1e-14 }, // float64, by LAPACK: it needs all cores after all
    { rank: 20, method: 'krylov' as const },
    { rank: 20, method: 'exact' as const },
  ])('has the bits of one alone: %j', async (choice) => {
    const alone = await approximate(w, { ...choice, threads: 2 }, 'dense');
    const beside = await approximate(w, { ...choice, threads: 2, alongside: 1 }, 'dense');
    expect(beside.job.dense).toEqual(alone.job.dense);
    expect(beside.certificate).toMatchObject({
      method: alone.certificate.method,
      methodsTried: alone.certificate.methodsTried,
      excessBound: alone.certificate.excessBound,
    });
  });

  it.each([1, 2, 3, 4])('has the bits of five threads on %i cores', async (alongside) => {
    const alone = await approximate(w, { rank: 100, threads: 5 }, 'dense');
    const beside = await approximate(w, { rank: 100, threads: 5, alongside }, 'dense');
    expect(beside.job.dense).toEqual(alone.job.dense);
  });

  it('has the singular values of one alone', async () => {
    const alone = await singularValuesBeside(w, { threads: 2 });
    expect(await singularValuesBeside(w, { threads: 2, alongside: 1 })).toEqual(alone);
  });
});
