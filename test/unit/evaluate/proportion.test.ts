import { describe, expect, it } from 'vitest';
import { discordance, shareInterval, signTest } from '../../../lib/evaluate/metrics/proportion.js';
import { accuracyInterval, significanceOf } from '../../../lib/search/significance.js';

describe('the interval of a share', () => {
  it('is that of Wilson: the shares that a test of 5 % does not refuse', () => {
    for (const [right, questions] of [
      [40, 100],
      [0, 20],
      [20, 20],
      [3, 7],
      [395, 400],
    ] as const) {
      const { low, high } = shareInterval(right, questions);
      const share = right / questions;
      for (const bound of [low, high]) {
        // At a bound inside (0, 1) the distance is exactly 1.96 of the bound's own deviations.
        if (bound === 0 || bound === 1) continue;
        expect(Math.abs(share - bound) / Math.sqrt((bound * (1 - bound)) / questions)).toBeCloseTo(1.959964, 5);
      }
      expect(low).toBeLessThanOrEqual(share);
      expect(high).toBeGreaterThanOrEqual(share);
    }
    expect(shareInterval(0, 0)).toEqual({ low: 0, high: 1 });
    expect(accuracyInterval({ questions: 20, accuracy: undefined, logLoss: 1, perplexity: 1 })).toBeUndefined();
  });
});

describe('the sign test', () => {
  it('counts questions on which one model alone is right, among those that both were asked', () => {
    expect(discordance('1100-1', '10011-')).toEqual({ plus: 1, minus: 1 });
    // 2 of 10 or fewer heads, and as many tails: 2 (1 + 10 + 45) / 1024.
    expect(signTest({ plus: 2, minus: 8 })).toBeCloseTo(112 / 1024, 12);
    expect(signTest({ plus: 8, minus: 2 })).toBeCloseTo(112 / 1024, 12);
    expect(signTest({ plus: 3, minus: 3 })).toBe(1);
    expect(signTest({ plus: 0, minus: 0 })).toBe(1);
  });

  it('is stricter with the best of many trials', () => {
    const [own, base] = [{ outcomes: `${'1'.repeat(9)}1` }, { outcomes: `${'0'.repeat(9)}1` }];
    expect(significanceOf(own, base)).toEqual({ p: 2 / 512, isSignificant: true });
    expect(significanceOf(own, base, 30)).toEqual({ p: 60 / 512, isSignificant: false });
    expect(significanceOf({ outcomes: '--' }, { outcomes: '10' })).toBeUndefined();
  });
});
