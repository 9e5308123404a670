import { describe, expect, it } from 'vitest';
import { smallestWithin } from '../../../lib/compress/within-divergence.js';
import { LowRankError } from '../../../lib/errors.js';

describe('the smallest budget within a divergence', () => {
  const measure = async (budget: number) => ({ result: budget, divergence: (1000 - budget) / 1000 });

  it('is found to 1/256 of the interval, from above', async () => {
    const found = (await smallestWithin(0.25, [0, 1000], measure))!;
    expect(found).toBeGreaterThanOrEqual(750);
    expect(found).toBeLessThan(750 + 1000 / 256);
  });

  it('is none where every smaller budget diverges more', async () => {
    expect(await smallestWithin(0.0001, [0, 1000], measure)).toBeUndefined();
  });

  it('stops above budgets that are too small for any ranks, and passes other failures on', async () => {
    const limited = async (budget: number) => {
      if (budget < 400) throw new LowRankError('ERR_UNSUPPORTED', 'too small');
      return measure(budget);
    };
    const found = (await smallestWithin(0.9, [0, 1000], limited))!;
    expect(found).toBeGreaterThanOrEqual(400);
    expect(found).toBeLessThan(404);
    const broken = () => Promise.reject(new LowRankError('ERR_ENGINE', 'does not run'));
    await expect(smallestWithin(1, [0, 1], broken)).rejects.toThrow('does not run');
  });
});
