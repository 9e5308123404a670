import { describe, expect, it } from 'vitest';
import { ArgumentError } from '../../../lib/errors.js';
import { fairCoin } from '../../../lib/evaluate/metrics/proportion.js';
import { Race } from '../../../lib/search/race.js';
import { random } from '../../support/random.js';

/** n over k, exact as far as doubles go. */
function choose(n: number, k: number): number {
  let result = 1;
  for (let i = 0; i < k; i++) result = (result * (n - i)) / (i + 1);
  return result;
}

describe('fairCoin', () => {
  it('is the binomial distribution function', () => {
    for (const tosses of [0, 1, 2, 7, 20]) {
      let sum = 0;
      for (let heads = 0; heads <= tosses; heads++) {
        sum += choose(tosses, heads) / 2 ** tosses;
        expect(fairCoin(heads, tosses)).toBeCloseTo(sum, 12);
      }
    }
  });

  it('does not vanish nor overflow for many tosses', () => {
    expect(fairCoin(2500, 5000)).toBeCloseTo(0.5056, 3);
    expect(fairCoin(0, 5000)).toBe(0);
    expect(fairCoin(0, 1000)).toBeCloseTo(2 ** -1000, 310);
  });
});

describe('the proof of Race', () => {
  it('holds for every population: drawn without replacement, the fair coin bounds the chance of so few', () => {
    let compared = 0;
    for (let half = 1; half <= 30; half++) {
      for (const ahead of [0, 1]) {
        // A of the questions for the candidate, B for the rival, A >= B: the worst cases.
        const [a, b] = [half, half - ahead];
        for (let drawn = 1; drawn <= a + b; drawn++) {
          let below = 0;
          for (let plus = 0; plus < drawn / 2; plus++) {
            below += (choose(a, plus) * choose(b, drawn - plus)) / choose(a + b, drawn);
            expect(below).toBeLessThanOrEqual(fairCoin(plus, drawn) * (1 + 1e-9));
            compared++;
          }
        }
      }
    }
    expect(compared).toBeGreaterThan(10_000);
  });
});

describe('Race', () => {
  it('looks after 32, 64, 128, ... and at last at all', () => {
    expect(new Race(400, 10, 0).rounds).toEqual([32, 64, 128, 256, 400]);
    expect(new Race(20, 10, 0).rounds).toEqual([20]);
    expect(new Race(100, 10, 0, { first: 10 }).rounds).toEqual([10, 20, 40, 80, 100]);
    expect(new Race(400, 10, 0, {}, false).rounds).toEqual([400]);
  });

  it('asks in an order of its own for each trial, the same for the same seed', () => {
    const race = new Race(50, 10, 3);
    expect([...race.order(4)].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(race.order(4)).toEqual(new Race(50, 10, 3).order(4));
    expect(race.order(4)).not.toEqual(race.order(5));
    expect(race.order(4)).not.toEqual(new Race(50, 10, 4).order(4));
  });

  it('stops what is significantly worse, and what cannot catch up', () => {
    const race = new Race(100, 1, 0, { error: 0.01 });
    const rival = '1'.repeat(50) + '0'.repeat(50);
    const own = (right: number, wrong: number, lucky = 0) => [
      ...'1'.repeat(right),
      ...'0'.repeat(wrong),
      ...'-'.repeat(50 - right - wrong),
      ...'1'.repeat(lucky),
      ...'-'.repeat(50 - lucky),
    ];
    // Two looks: 0.01 / 2 needs 8 losses without a gain, 2^-8 = 0.0039.
    expect(race.verdict(own(0, 7), rival)).toBeUndefined();
    expect(race.verdict(own(0, 8), rival)).toBe('hopeless');
    expect(race.verdict(own(0, 8, 1), rival)).toBeUndefined();
    expect(race.verdict([...'0'.repeat(49), ...'-', ...'0'.repeat(50)], rival)).toBe('behind');
    // Equal so far: log loss may decide.
    expect(race.verdict(own(20, 0), rival)).toBeUndefined();
  });

  it('keeps its bound if the candidate is exactly as good as its rival', () => {
    // 4,000 races between models that each are right alone on 40 of 200 questions. With error 0.05
    // and one trial in each race, at most 5 % may be stopped; by chance a few more would not be
    // surprising, 7 % would.
    const next = random(11);
    let stopped = 0;
    const races = 4000;
    for (let i = 0; i < races; i++) {
      const race = new Race(200, 1, Math.floor(next() * 2 ** 31), { error: 0.05, first: 8 });
      const rival = '1'.repeat(40) + '0'.repeat(40) + '1'.repeat(120);
      const truth = '0'.repeat(40) + '1'.repeat(40) + '1'.repeat(120);
      const own = new Array<string>(200).fill('-');
      const order = race.order(1);
      let from = 0;
      for (const to of race.rounds.slice(0, -1)) {
        for (const place of order.slice(from, to)) own[place] = truth[place]!;
        from = to;
        if (race.verdict(own, rival) !== undefined) {
          stopped++;
          break;
        }
      }
    }
    expect(stopped / races).toBeLessThan(0.05);
    // And it does look: with so many looks some are wrong.
    expect(stopped).toBeGreaterThan(0);
  });

  it('refuses impossible options', () => {
    expect(() => new Race(10, 1, 0, { error: 0 })).toThrow(ArgumentError);
    expect(() => new Race(10, 1, 0, { error: 0.6 })).toThrow(ArgumentError);
    expect(() => new Race(10, 1, 0, { first: 0 })).toThrow(ArgumentError);
  });
});
