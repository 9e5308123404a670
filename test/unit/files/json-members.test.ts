import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { withMember, withoutMember } from '../../../lib/files/json-members.js';

const VALUE = { rank: 3, list: ['a'] };

describe('a member of a JSON text', () => {
  it('is added as the last one, in the style of the others', () => {
    expect(withMember('{\n  "a": [1, 2]\n}\n', 'k', { b: 1 })).toBe(
      '{\n  "a": [1, 2],\n  "k": {\n    "b": 1\n  }\n}\n',
    );
    expect(withMember('{"a":{"k":"}"}}', 'k', { b: 1 })).toBe('{"a":{"k":"}"},"k": {"b":1}}');
    expect(JSON.parse(withMember('{}', 'k', VALUE))).toEqual({ k: VALUE });
  });

  it('leaves every other byte, even what is no JSON', () => {
    const text = '{\n "a" : NaN , "b": "\\"k\\": {", "c": [{"k": 1}]\n }';
    const added = withMember(text, 'k', VALUE);
    expect(added.startsWith(text.slice(0, -3))).toBe(true);
    expect(withoutMember(added, 'k')).toBe(text);
    expect(withoutMember(text, 'k')).toBe(text);
  });

  it('replaces the one that is there, wherever it stands', () => {
    for (const text of ['{"k": 1, "a": 2}', '{"a": 2, "k": [1, {"k": 2}]}', '{"k": 1, "a": 2, "k": 3}']) {
      expect(JSON.parse(withMember(text, 'k', VALUE))).toEqual({ a: 2, k: VALUE });
      expect(JSON.parse(withoutMember(text, 'k'))).toEqual({ a: 2 });
    }
    expect(withoutMember('{"k": 1}', 'k')).toBe('{}');
  });

  it('can be added to and removed from any object', () => {
    const objects = fc.dictionary(fc.string(), fc.jsonValue());
    fc.assert(
      fc.property(objects, fc.constantFrom(undefined, 1, 2, '\t'), fc.string(), (object, indent, key) => {
        fc.pre(!Object.hasOwn(object, key) && key !== '__proto__' && !Object.hasOwn(object, '__proto__'));
        const text = JSON.stringify(object, null, indent);
        const added = withMember(text, key, VALUE);
        expect(JSON.parse(added)).toEqual({ ...JSON.parse(text), [key]: VALUE });
        if (Object.keys(object).length > 0) expect(withoutMember(added, key)).toBe(text);
      }),
    );
  });
});
