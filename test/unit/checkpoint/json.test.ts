import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonReader } from '../../../lib/files/json.js';

class Fault extends Error {}

function reader(text: string): JsonReader {
  return new JsonReader(Buffer.from(text), (message) => {
    throw new Fault(message);
  });
}

function accepts(text: string): boolean {
  const json = reader(text);
  try {
    json.skip();
    json.end();
    return true;
  } catch (error) {
    if (error instanceof Fault) return false;
    throw error;
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe('the JSON reader', () => {
  it('accepts what JSON.parse accepts', () => {
    const value = fc.jsonValue({ maxDepth: 6, stringUnit: 'grapheme' });
    fc.assert(
      fc.property(value, fc.nat(3), (json, indent) => {
        // Numbers over 1e308 are refused on purpose.
        const text = JSON.stringify(json, (_, x) => (typeof x === 'number' && Math.abs(x) > 1e308 ? 0 : x), indent);
        expect(accepts(text)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('accepts nothing that JSON.parse refuses', () => {
    const noise = fc
      .array(fc.constantFrom(...'{}[]",:\\/u0d8eE+-.1 \n\ttrufalsn\u0001é'), { maxLength: 12 })
      .map((characters) => characters.join(''));
    fc.assert(
      fc.property(noise, (text) => {
        if (accepts(text)) expect(parses(text)).toBe(true);
        else if (parses(text)) expect(text).toMatch(/\\u|e\+?\d/i);
      }),
      { numRuns: 20_000 },
    );
  });

  it('reads strings as JSON.parse does', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const escaped = JSON.stringify(text);
        const codes = [...Array(text.length).keys()].map((i) => text.charCodeAt(i).toString(16).padStart(4, '0'));
        expect(reader(escaped).string()).toBe(text);
        expect(reader(`"${codes.map((code) => `\\u${code}`).join('')}"`).string()).toBe(text);
      }),
    );
  });

  it('reads integers exactly up to 2^64 - 1', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), (value) => {
        expect(reader(String(value)).unsigned()).toBe(value);
      }),
    );
    for (const text of ['18446744073709551616', '1.0', '1e2', '1E2', '-0', '-1', '01', '+1', '', 'x', '"1"', '1.']) {
      expect(() => reader(text).unsigned(), text).toThrow(Fault);
    }
  });

  it('reads any value as JSON.parse does', () => {
    const value = fc.jsonValue({ maxDepth: 6, stringUnit: 'grapheme' });
    fc.assert(
      fc.property(value, (json) => {
        const text = JSON.stringify(json, (_, x) => (typeof x === 'number' && Math.abs(x) > 1e308 ? 0 : x));
        if (!text.includes('"__proto__"')) expect(reader(text).value()).toEqual(JSON.parse(text));
      }),
      { numRuns: 500 },
    );
  });

  it('reads no value with equal keys, with __proto__ or with brackets without end', () => {
    expect(() => reader('{"a":{"b":1,"b":2}}').value()).toThrow('duplicate key "b"');
    expect(() => reader('[{"__proto__":{"x":1}}]').value()).toThrow('__proto__');
    expect(() => reader('['.repeat(1e6)).value()).toThrow('more than 100');
    expect(reader('{"constructor":1,"toString":2}').value()).toEqual({ constructor: 1, toString: 2 });
  });

  it('reports the position of the fault', () => {
    expect(() => reader('{"a": tru}').skip()).toThrow('expected true (at byte 6)');
  });
});
