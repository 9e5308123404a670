import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { prune, thresholdIndex } from '../../../lib/interventions/prune.js';

/** The paper's arithmetic, by sorting. */
function reference(matrix: Float32Array, index: number): number[] {
  const threshold = [...matrix].map(Math.abs).sort((a, b) => a - b)[index] ?? Number.POSITIVE_INFINITY;
  return [...matrix].map((x) => (Math.abs(x) <= threshold ? 0 : x));
}

describe('thresholdIndex', () => {
  it("takes the paper's arithmetic for a rate", () => {
    expect(thresholdIndex({ rate: 0 }, 100)).toBeUndefined();
    expect(thresholdIndex({ rate: 3 }, 10)).toBe(Math.trunc(3 * 0.1 * 10));
    // 7 * 0.1 is 0.7000000000000001 and 6 * 0.1 is 0.6000000000000001, as in Python.
    expect(thresholdIndex({ rate: 9.9 }, 1000)).toBe(990);
    expect(thresholdIndex({ rate: 10 }, 100)).toBe(100);
    expect(thresholdIndex({ rate: 0.001 }, 100)).toBe(0);
  });

  it('takes a share by its decimal', () => {
    expect(thresholdIndex({ rankFraction: 1 }, 100)).toBeUndefined();
    expect(thresholdIndex({ rankFraction: 0 }, 100)).toBe(100);
    // In floating point 1 - 0.9 is 0.09999999999999998, a hundred of which are 9.
    expect(thresholdIndex({ rankFraction: 0.9 }, 100)).toBe(10);
    expect(thresholdIndex({ rankFraction: 0.71 }, 100)).toBe(29);
    expect(thresholdIndex({ rankFraction: 0.999 }, 100)).toBe(0);
  });
});

describe('prune', () => {
  it('removes the smallest, one more than the index, by absolute value', () => {
    const matrix = Float32Array.of(5, -1, 3, -4, 2, 0.5);
    prune(matrix, 2);
    expect([...matrix]).toEqual([5, 0, 3, -4, 0, 0]);
  });

  it('removes ties with the last one too', () => {
    const matrix = Float32Array.of(1, -1, 1, 2);
    prune(matrix, 0);
    expect([...matrix]).toEqual([0, 0, 0, 2]);
  });

  it("removes everything at the end, where the paper's code fails", () => {
    const matrix = Float32Array.of(1, 2, 3);
    prune(matrix, 3);
    expect([...matrix]).toEqual([0, 0, 0]);
  });

  it('agrees with sorting', () => {
    const numbers = fc.array(
      fc.oneof(fc.float({ noNaN: true, noDefaultInfinity: true }), fc.integer({ min: -3, max: 3 })),
      {
        minLength: 1,
        maxLength: 80,
      },
    );
    fc.assert(
      fc.property(numbers, fc.nat(100), (values, at) => {
        const matrix = Float32Array.from(values);
        const index = at % (matrix.length + 1);
        const expected = reference(matrix, index);
        prune(matrix, index);
        expect([...matrix].map((x) => x + 0)).toEqual(expected.map((x) => x + 0));
      }),
    );
  });

  it('is fast on sorted, reversed and equal numbers', () => {
    const count = 1 << 20;
    for (const at of [(i: number) => i, (i: number) => count - i, () => 1]) {
      const matrix = Float32Array.from({ length: count }, (_, i) => at(i));
      const started = performance.now();
      prune(matrix, count >> 1);
      expect(performance.now() - started).toBeLessThan(5000);
    }
  });
});
