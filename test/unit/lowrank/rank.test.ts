import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { breakEvenRank, rankJob, rankOfFraction, rankOfRate } from '../../../lib/lowrank/rank.js';

describe('rankOfFraction', () => {
  it('is the floor on the decimal that was written', () => {
    expect(rankOfFraction(0.29, 100)).toBe(29); // 0.29 * 100 = 28.999999999999996
    expect(rankOfFraction(0.9, 512)).toBe(460);
    expect(rankOfFraction(0.1, 4096)).toBe(409);
    expect(rankOfFraction(0.01, 4096)).toBe(40);
    expect(rankOfFraction(0.005, 1000)).toBe(5);
    expect(rankOfFraction(1e-7, 10 ** 8)).toBe(10);
    expect(rankOfFraction(0, 7)).toBe(0);
    expect(rankOfFraction(1, 7)).toBe(7);
    expect(rankOfFraction(0.999, 7)).toBe(6);
    expect(rankOfFraction(5e-324, 7)).toBe(0);
  });

  it('agrees with whole-number arithmetic for every fraction of three decimals', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 1, max: 100_000 }), (thousandths, n) => {
        expect(rankOfFraction(thousandths / 1000, n)).toBe(Math.floor((thousandths * n) / 1000));
      }),
    );
  });

  it.each([-0.1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])('refuses %d', (rho) => {
    expect(() => rankOfFraction(rho, 10)).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', argument: 'rankFraction' }),
    );
  });
});

describe('rankOfRate', () => {
  const RATES = [1, 2, 4, 6, 8, 9, 9.5, 9.9, 9.95];
  // int(n * ((10 - rate) * 0.1)) in Python.
  it.each([
    [4096, [3686, 3276, 2457, 1638, 819, 409, 204, 40, 20]],
    [2048, [1843, 1638, 1228, 819, 409, 204, 102, 20, 10]],
    [1024, [921, 819, 614, 409, 204, 102, 51, 10, 5]],
    [768, [691, 614, 460, 307, 153, 76, 38, 7, 3]],
    [512, [460, 409, 307, 204, 102, 51, 25, 5, 2]],
  ])("is LASER's own arithmetic at %i", (n, expected) => {
    expect(RATES.map((rate) => rankOfRate(rate, n))).toEqual(expected);
  });

  it('to the last bit, traps included', () => {
    expect(rankOfRate(9.9, 1000)).toBe(9);
    expect(rankOfRate(9.9, 100)).toBe(0);
    expect([4.5, 9, 9.4, 9.8].map((rate) => rankOfRate(rate, 4096))).toEqual([2252, 409, 245, 81]);
    expect([rankOfRate(0, 77), rankOfRate(10, 77)]).toEqual([77, 0]);
    expect(() => rankOfRate(10.1, 5)).toThrow(expect.objectContaining({ argument: 'rate' }));
  });
});

describe('rankJob', () => {
  it('takes exactly one way to choose', () => {
    expect(rankJob({ rank: 3 }, 5, 4)).toEqual({ rank: 3 });
    expect(rankJob({ rankFraction: 0.5 }, 5, 4)).toEqual({ rank: 2 });
    expect(rankJob({ energy: 0.75 }, 5, 4)).toEqual({ tail: 0.25, tailRest: 0 });
    expect(rankJob({ energy: 0.9 }, 5, 4)).toEqual({ tail: 0.1, tailRest: -5.551115123125783e-18 });
    expect(rankJob({ energy: 0.9999999 }, 5, 4)).toMatchObject({ tail: 1e-7 });
    expect(rankJob({ tolerance: 7 }, 5, 4)).toEqual({ tail: 1, tailRest: 0 });
    expect(rankJob({ tolerance: 0 }, 5, 4)).toEqual({ tail: 0, tailRest: 0 });
    expect(rankJob({ tolerance: 0.5 }, 5, 4)).toEqual({ tail: 0.25, tailRest: 0 });
    for (const bad of [
      {},
      { rank: 1, energy: 0.5 },
      { rank: 5 },
      { rank: -1 },
      { rank: 1.5 },
      { energy: 1.1 },
      { tolerance: -1 },
    ]) {
      expect(() => rankJob(bad as { rank: number }, 5, 4)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
    }
  });

  it('knows the rank from which factors are not smaller', () => {
    expect(breakEvenRank(4096, 4096)).toBe(2048);
    expect(breakEvenRank(10, 10)).toBe(5);
    expect(breakEvenRank(4096, 11008)).toBe(2985);
  });
});
