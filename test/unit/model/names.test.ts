import { describe, expect, it } from 'vitest';
import { tensorsNamed } from '../../../lib/model/names.js';
import { fakeCheckpoint, repeated } from '../../support/fake-checkpoint.js';

const checkpoint = fakeCheckpoint({
  ...repeated(13, { 'h.#.fc.weight': [4, 4], 'h.#.ln.weight': [4] }),
  'tower/head.weight': [4, 4],
});
const found = (glob: string) => tensorsNamed(checkpoint, glob).map(({ name }) => name);
const layers = (glob: string) => found(glob).map((name) => Number(name.split('.')[1]));

describe('globs over names', () => {
  it('match dots with a star, slashes only with two', () => {
    expect(found('h.1*fc*')).toEqual(['h.1.fc.weight', 'h.10.fc.weight', 'h.11.fc.weight', 'h.12.fc.weight']);
    expect(() => found('*head*')).toThrow(expect.objectContaining({ code: 'ERR_NOT_FOUND' }));
  });

  it('match slashes with two stars and a slash', () => {
    expect(found('**/*head*')).toEqual(['tower/head.weight']);
    expect(found('**')).toHaveLength(27);
  });

  it('take alternatives, and ranges as numbers', () => {
    expect(layers('h.{2,11}.{fc,mlp}.weight')).toEqual([2, 11]);
    expect(layers('h.{8..12}.fc.*')).toEqual([8, 9, 10, 11, 12]);
    expect(layers('h.{3..1}.fc.*')).toEqual([1, 2, 3]);
    expect(layers('h.{0..99}.fc.*')).toHaveLength(13);
    expect(layers('h.@(1|12).fc.*')).toEqual([1, 12]);
    expect(layers('h.[0-2].fc.*')).toEqual([0, 1, 2]);
    expect(layers('h.1?.fc.*')).toEqual([10, 11, 12]);
    expect(found('h.4.{e..g}c.weight')).toEqual(['h.4.fc.weight']);
  });

  it('negate a part, or all', () => {
    expect(layers('h.!({2..12}).fc.*')).toEqual([0, 1]);
    expect(found('h.[!1].!(ln).weight')).toHaveLength(9);
    expect(found('!h.*')).toEqual(['tower/head.weight']);
    expect(found('!**/*.ln.*')).toHaveLength(14);
  });

  it.each(['h.{1..2..3}.*', 'h.{0..99999999}.*', 'h.{a..10}.*'])('refuse the range in %s', (glob) => {
    expect(() => found(glob)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  });
});

describe('a name that no tensor has', () => {
  const hint = (glob: string) => {
    try {
      tensorsNamed(checkpoint, glob);
    } catch (error) {
      return (error as { hint: string }).hint;
    }
    return undefined;
  };

  it('gets a suggestion: the name that is nearly it, or a glob around it', () => {
    expect(hint('h.3.fc.wieght')).toMatch(/^Did you mean "h\.3\.fc\.weight"\? /);
    expect(hint('fc.weight')).toMatch(/^Did you mean "\*fc\.weight\*", which 13 names match\? /);
    expect(hint('h.12.f')).toMatch(/^Did you mean "\*h\.12\.f\*", which 1 name matches\? /);
    for (const glob of ['nothing.of.this.kind', '*.kind']) expect(hint(glob)).toMatch(/^List the names with/);
  });
});
