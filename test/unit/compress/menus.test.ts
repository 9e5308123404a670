import { describe, expect, it } from 'vitest';
import { type Choice, chooseWithin, menuFrom, sizeOf } from '../../../lib/compress/menus.js';
import { random } from '../../support/random.js';

describe('a menu', () => {
  it('leaves out what costs more and loses no less, and is in order', () => {
    const choices: Choice[] = [
      { size: 5, loss: 1 },
      { size: 3, loss: 2 },
      { size: 4, loss: 2 },
      { size: 9, loss: 0 },
      { size: 6, loss: 3 },
    ];
    expect(menuFrom(choices)).toEqual([choices[1], choices[0], choices[3]]);
  });
});

describe('choices from several menus', () => {
  const next = random(7);
  const menus = Array.from({ length: 4 }, () =>
    menuFrom(Array.from({ length: 5 }, () => ({ size: 1 + Math.floor(20 * next()), loss: next() ** 3 }))),
  );
  const lossOf = (choices: readonly Choice[]) => choices.reduce((sum, { loss }) => sum + loss, 0);
  const all = menus.reduce<Choice[][]>(
    (lists, menu) => lists.flatMap((list) => menu.map((one) => [...list, one])),
    [[]],
  );

  it('fit into the budget, and lose little more than the best of all', () => {
    const most = Math.max(...all.map(sizeOf));
    for (let budget = Math.min(...all.map(sizeOf)); budget <= most; budget++) {
      const chosen = chooseWithin(menus, budget)!;
      expect(sizeOf(chosen)).toBeLessThanOrEqual(budget);
      const best = Math.min(...all.filter((list) => sizeOf(list) <= budget).map(lossOf));
      expect(lossOf(chosen)).toBeLessThanOrEqual(1.3 * best + 1e-9);
    }
  });

  it('do not exist where the smallest are too large', () => {
    expect(chooseWithin(menus, Math.min(...all.map(sizeOf)) - 1)).toBeUndefined();
  });
});
