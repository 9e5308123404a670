import { describe, expect, it } from 'vitest';
import { ArgumentError } from '../../../lib/errors.js';
import { type InterventionKind, kindOf } from '../../../lib/interventions/kinds/kinds.js';
import { recompose } from '../../../lib/interventions/recompose.js';
import { parseAt } from '../../../lib/interventions/spec.js';
import { svdSync } from '../../../lib/linalg/svd.js';
import { gaussian } from '../../support/matrices.js';

const of = (kind: InterventionKind, rho: string, full = 10, seed = 0, matrix = 'w') => {
  return [...kindOf(kind).keeps!(parseAt(`0:mlp:${rho}`, kind).amount, full, { seed, matrix })];
};

describe('which components stay', () => {
  it('takes the first, the last, a band', () => {
    expect(of('rank-reduction', '0.3')).toEqual([0, 1, 2]);
    expect(of('bottom', '0.3')).toEqual([7, 8, 9]);
    expect(of('band', '0.2-0.5')).toEqual([2, 3, 4]);
    expect(of('rank-reduction', '0')).toEqual([]);
    expect(of('bottom', '1')).toHaveLength(10);
    expect(of('band', '1e-1-0.29', 100)).toEqual(Array.from({ length: 19 }, (_, i) => 10 + i));
  });

  it('draws at random, each component as often as any other, and the same for the same seed', () => {
    const times = new Array<number>(10).fill(0);
    for (let seed = 0; seed < 3000; seed++) {
      const drawn = of('random', '0.3', 10, seed);
      expect(new Set(drawn).size).toBe(3);
      expect(drawn).toEqual([...drawn].sort((a, b) => a - b));
      for (const index of drawn) times[index]!++;
    }
    // 900 expected, with a standard deviation of 25.
    for (const count of times) expect(Math.abs(count - 900)).toBeLessThan(125);
    expect(of('random', '0.3', 10, 5)).toEqual(of('random', '0.3', 10, 5));
  });

  it('draws anew for each matrix, so that the control is not a single draw for a whole model', () => {
    const times = new Array<number>(10).fill(0);
    for (let layer = 0; layer < 3000; layer++) {
      for (const index of of('random', '0.3', 10, 0, `layers.${layer}.fc_in`)) times[index]!++;
    }
    for (const count of times) expect(Math.abs(count - 900)).toBeLessThan(125);
  });

  it('refuses amounts of another kind', () => {
    expect(() => kindOf('band').resolve({ rankFraction: 0.5 }, [10, 20])).toThrow(ArgumentError);
    expect(() => kindOf('bottom').resolve({ band: [0, 0.5] }, [10, 20])).toThrow(ArgumentError);
    for (const wrong of ['0.5', '0.5-0.2', '0.1-0.2-0.3', '-0.1-0.2', '0.1-', '0.2-1.5']) {
      expect(() => parseAt(`0:mlp:${wrong}`, 'band')).toThrow(ArgumentError);
    }
  });
});

describe('recompose', () => {
  it('adds up to the matrix, whatever it is divided into', async () => {
    for (const shape of [
      [9, 14],
      [3, 14, 9],
    ]) {
      const w = gaussian(shape, 4);
      const parts = svdSync(w);
      const sum = new Float32Array(w.data.length);
      for (const [kind, rho] of [
        ['rank-reduction', '0.4'],
        ['bottom', '0.2'],
        ['band', '0.4-0.8'],
      ] as const) {
        const full = 9;
        const kept = kindOf(kind).keeps!(parseAt(`0:mlp:${rho}`, kind).amount, full, { matrix: 'w' });
        const part = await recompose(parts, kept);
        part.forEach((value, i) => {
          sum[i]! += value;
        });
      }
      // floor(0.4 9) = 3, floor(0.8 9) = 7 and the last floor(0.2 9) = 1: one component, the
      // eighth, is in none.
      const missing = await recompose(parts, Uint32Array.of(7));
      w.data.forEach((value, i) => {
        expect(sum[i]! + missing[i]!).toBeCloseTo(value, 5);
      });
    }
  });
});
