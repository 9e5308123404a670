import { describe, expect, it } from 'vitest';
import { singularValuesSync } from '../../../lib/linalg/svd.js';
import { analyseSpectrum } from '../../../lib/lowrank/spectrum.js';
import { gaussian, ofRank } from '../../support/matrices.js';

describe('analyseSpectrum', () => {
  it('by hand', () => {
    const s = Float32Array.of(2, 1, 1, 0);
    const { rank, effectiveRank, energyRank90, energyRank95, breakEvenRank } = analyseSpectrum(s, 4, 12);
    expect(rank).toBe(3);
    expect(effectiveRank).toBeCloseTo(Math.exp(-(0.5 * Math.log(0.5) + 0.5 * Math.log(0.25))), 12);
    // energies 4, 1, 1 of 6
    expect([energyRank90, energyRank95]).toEqual([3, 3]);
    expect(analyseSpectrum(Float32Array.of(3, 1), 2, 2).energyRank90).toBe(1); // exactly 90 %
    expect(breakEvenRank).toBe(3);
    const zero = analyseSpectrum(new Float32Array(3), 3, 3);
    expect([zero.rank, zero.effectiveRank, zero.energyRank99, zero.marchenkoPasturRank]).toEqual([0, 0, 0, 0]);
  });

  it.each([
    [200, 200],
    [100, 400],
    [600, 60],
  ])('%i x %i noise has no singular value above the edge, and planted ones are counted', (m, n) => {
    const noise = gaussian([m, n], 5);
    // Fluctuations at the edge may carry a single value over it.
    expect(analyseSpectrum(singularValuesSync(noise).data, m, n).marchenkoPasturRank).toBeLessThanOrEqual(1);
    const planted = ofRank(7, m, n, 9);
    const mixed = { data: noise.data.map((x, i) => x + planted.data[i]!), shape: [m, n] };
    expect(analyseSpectrum(singularValuesSync(mixed).data, m, n).marchenkoPasturRank).toBe(7);
  });
});
