import { describe, expect, it } from 'vitest';
import { interpolate } from '../../../lib/lowrank/interpolative.js';
import { failure } from '../../support/failure.js';
import { distance, gaussian, norm, product } from '../../support/matrices.js';

describe('the interpolative decomposition of factors', () => {
  it.each([
    [12, 5, 9],
    [9, 9, 4],
    [40, 1, 3],
    [30, 20, 50],
  ])(
    'of %d rows gives the product from %d of them and the coefficients of the others (%d columns)',
    async (m, k, n) => {
      const [b, a] = [gaussian([m, k], 3), gaussian([k, n], 4)];
      const whole = product(b.data, a.data, m, k, n);
      const { pivots, coefficients, order } = await interpolate({ b, a });
      expect(pivots.shape).toEqual([k, n]);
      expect(coefficients.shape).toEqual([m - k, k]);
      expect([...order].sort((x, y) => x - y)).toEqual(Array.from({ length: m }, (_, i) => i));
      const others = product(coefficients.data, pivots.data, m - k, k, n);
      const rows = [...pivots.data, ...others];
      const together = new Float64Array(m * n);
      for (const [j, row] of order.entries()) together.set(rows.slice(j * n, (j + 1) * n), row * n);
      expect(distance(together, whole)).toBeLessThan(1e-5 * norm(whole));
      // Pivots of QR keep the coefficients small.
      expect(Math.max(0, ...coefficients.data.map(Math.abs))).toBeLessThan(10);
    },
  );

  it('needs factors of full rank, and one matrix', async () => {
    const b = { data: Float32Array.of(1, 2, 2, 4, 3, 6), shape: [3, 2] };
    expect((await failure(interpolate({ b, a: gaussian([2, 4]) }))).code).toBe('ERR_ARGUMENT');
    expect((await failure(interpolate({ b: gaussian([2, 3]), a: gaussian([3, 4]) }))).code).toBe('ERR_SHAPE');
    expect((await failure(interpolate({ b: gaussian([3, 2]), a: gaussian([3, 4]) }))).code).toBe('ERR_SHAPE');
    expect((await failure(interpolate({ b: gaussian([2, 3, 2]), a: gaussian([2, 2, 4]) }))).code).toBe('ERR_SHAPE');
  });
});
