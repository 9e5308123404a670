import { describe, expect, it } from 'vitest';
import { matmul, matmulSync } from '../../../lib/linalg/matmul.js';
import { tensor } from '../../../lib/tensor/create.js';
import { distance, gaussian, norm, product } from '../../support/matrices.js';

function transpose(data: Float32Array, m: number, n: number): Float32Array {
  return Float32Array.from({ length: m * n }, (_, i) => data[(i % m) * n + Math.floor(i / m)]!);
}

describe('matmul', () => {
  it.each([
    [3, 4, 5],
    [1, 7, 1],
    [64, 33, 17],
    [130, 200, 150],
  ])('[%i, %i] x [., %i] agrees with float64, with every transposition', async (m, k, n) => {
    const [a, b] = [gaussian([m, k], 1), gaussian([k, n], 2)];
    const expected = product(a.data, b.data, m, k, n);
    const at = tensor(transpose(a.data, m, k), [k, m]);
    const bt = tensor(transpose(b.data, k, n), [n, k]);
    const results = [
      await matmul(a, b),
      matmulSync(at, b, { transposeA: true }),
      matmulSync(a, bt, { transposeB: true }),
      await matmul(at, bt, { transposeA: true, transposeB: true }),
    ];
    for (const c of results) {
      expect(c.shape).toEqual([m, n]);
      expect(distance(c.data, expected) / norm(expected)).toBeLessThan(1e-6);
    }
  });

  it('multiplies batches matrix by matrix', () => {
    const [a, b] = [gaussian([3, 4, 5]), gaussian([3, 5, 2])];
    const c = matmulSync(a, b);
    expect(c.shape).toEqual([3, 4, 2]);
    const last = product(a.data.subarray(40), b.data.subarray(20), 4, 5, 2);
    expect(distance(c.data.subarray(16), last)).toBeLessThan(1e-5);
  });

  it('refuses what does not fit, naming both shapes', async () => {
    await expect(matmul(gaussian([2, 3]), gaussian([2, 3]))).rejects.toMatchObject({
      code: 'ERR_SHAPE',
      message: expect.stringContaining('[2, 3] by [2, 3]'),
    });
    expect(() => matmulSync(gaussian([2, 3, 3]), gaussian([1, 3, 3]))).toThrow(/batches must agree/);
  });
});
