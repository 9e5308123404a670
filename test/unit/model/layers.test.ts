import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { layerNumbers, parseLayers } from '../../../lib/model/layers.js';

/** The numbers that a text means in a model of this many layers. */
function numbers(text: string, count: number): readonly number[] {
  const layers = parseLayers(text, 'at');
  return layers === 'all' ? Array.from({ length: count }, (_, i) => i) : layerNumbers(layers, count);
}

describe('layers', () => {
  it.each([
    ['26', [26]],
    ['20-22', [20, 21, 22]],
    ['7,0,2,5-7', [0, 2, 5, 6, 7]],
    ['last', [31]],
    ['-1', [31]],
    ['-4..', [28, 29, 30, 31]],
    ['-4..-3', [28, 29]],
    ['29..', [29, 30, 31]],
    ['29..last', [29, 30, 31]],
    ['30..-1', [30, 31]],
    ['..2', [0, 1, 2]],
    ['..-31', [0, 1]],
    ['0,last', [31, 0]],
    ['31,last', [31]],
    ['4..6', [4, 5, 6]],
  ])('%s of 32 are %j', (text, expected) => {
    expect([...numbers(text, 32)].sort((a, b) => a - b)).toEqual([...expected].sort((a, b) => a - b));
  });

  it.each([
    ['32', 'layer 32: this model has layers 0 to 31'],
    ['-33', 'layer -33: this model has layers 0 to 31'],
    ['20..40', 'layer 32: this model has layers 0 to 31'],
    ['30..-4', 'layers 30..-4: none in a model with layers 0 to 31'],
  ])('refuses %s in a model of 32', (text, message) => {
    expect(() => numbers(text, 32)).toThrow(message);
    expect(() => numbers(text, 32)).toThrow(expect.objectContaining({ code: 'ERR_NOT_FOUND' }));
  });

  it('are the same counted from either end', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 99 }), fc.nat(98), fc.nat(98), (count, a, b) => {
        const [first, last] = [Math.min(a, b) % count, Math.max(a, b) % count].sort((x, y) => x - y) as [
          number,
          number,
        ];
        const expected = numbers(`${first}-${last}`, count);
        for (const from of [first, first - count]) {
          for (const to of [last, last - count]) expect(numbers(`${from}..${to}`, count)).toEqual(expected);
        }
      }),
    );
  });
});
