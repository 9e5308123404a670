import { describe, expect, it } from 'vitest';
import type { TensorInfo } from '../../../lib/checkpoint/checkpoint.js';
import { firstMatches, isSimple } from '../../../lib/model/bounded-match.js';
import { tensorsNamed } from '../../../lib/model/names.js';

const ENDLESS = /^(?:(a+)+b)$/;
const letters = 'a'.repeat(60);

describe('matching under a time limit', () => {
  it('finds the first pattern of each name', () => {
    expect(firstMatches([/^a/, /b$/], ['ab', 'b', 'c'])).toEqual([0, 1, -1]);
    expect(firstMatches([], ['a'])).toEqual([-1]);
    expect(firstMatches([/a/], [])).toEqual([]);
  });

  it('stops a pattern that would take years, with an error', () => {
    const begin = performance.now();
    expect(() => firstMatches([/x/, ENDLESS], ['b', letters])).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT', hint: expect.stringContaining('repetition') }),
    );
    expect(performance.now() - begin).toBeLessThan(5000);
  });

  it('knows patterns that need no watch, and lets no repetition, choice or group pass as one', () => {
    for (const simple of ['model.layers.0', '^h\\.1\\.attn$', 'a[bc]d']) expect(isSimple(simple, 'name')).toBe(true);
    for (const other of ['a*', 'a+', 'a?', 'a{2}', '(a)', 'a|b']) expect(isSimple(other, 'name')).toBe(false);
    expect(isSimple('a', 'x'.repeat(2000))).toBe(false);
  });
});

describe('tensors by a glob', () => {
  const names = ['h.0.w', 'h.1.w', letters];
  const tensors = new Map(
    names.map((name, i) => [name, { name, ...(i === 1 ? { alias: 'the.second' } : {}) } as TensorInfo]),
  );
  const named = (glob: string) => tensorsNamed({ tensors }, glob).map(({ name }) => name);

  it('are found by pattern, by alias and by the name itself', () => {
    expect(named('h.*')).toEqual(['h.0.w', 'h.1.w']);
    expect(named('the.*')).toEqual(['h.1.w']);
    expect(named(letters)).toEqual([letters]);
    expect(() => named('x.*')).toThrow(expect.objectContaining({ code: 'ERR_NOT_FOUND' }));
  });

  it('that cannot be read, or takes too long, is refused', () => {
    expect(() => named('*'.repeat(70_000))).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
    expect(() => named(`${'*a'.repeat(12)}*b`)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  });
});
