import fc from 'fast-check';
import { expect, describe as group, it } from 'vitest';
import { ArgumentError, CheckpointError, describe, LowRankError } from '../../lib/errors.js';

group('errors', () => {
  it('have a code, the offending name, what was expected and what was given', () => {
    const error = new ArgumentError('rank', 'a whole number', 1.5);
    expect(error).toBeInstanceOf(LowRankError);
    expect(error).toMatchObject({ name: 'ArgumentError', code: 'ERR_ARGUMENT', argument: 'rank' });
    expect(error.message).toBe('rank: expected a whole number, got 1.5');
    const cause = new Error('below');
    expect(
      new CheckpointError('ERR_CHECKPOINT_IO', 'Short', 'a.safetensors', 'is short', { cause, hint: 'copy it again' }),
    ).toMatchObject({
      message: 'a.safetensors: is short',
      kind: 'Short',
      file: 'a.safetensors',
      hint: 'copy it again',
      cause,
    });
  });

  it('describe any value shortly and harmlessly', () => {
    expect(describe(undefined)).toBe('undefined');
    expect(describe(10n)).toBe('10');
    expect(describe('x'.repeat(100))).toHaveLength(62);
    expect(describe('a\u001b[31m\u009b\u202e\n')).toBe('"a\\u{1b}[31m\\u{9b}\\u{202e}\\u{a}"');
    expect(describe([1, [2], 'c'])).toBe('[1, [2], "c"]');
    expect(describe(Array(20).fill(0))).toBe('[0, 0, 0, 0, 0, 0, 0, 0, ...]');
    expect(describe(new Float64Array(2))).toBe('Float64Array of 16 bytes');
    expect(describe(() => 1)).toBe('a function');
    expect(describe(Object.create(null))).toBe('an object');
    expect(describe(new Map())).toBe('Map');
  });

  it('describe values that refuse to be looked at', () => {
    const refuse = () => {
      throw new Error('not for you');
    };
    const getter = (name: string) => Object.defineProperty({}, name, { get: refuse });
    expect(describe(getter('constructor'))).toBe('an object');
    expect(describe({ constructor: getter('name') })).toBe('an object');
    expect(describe({ constructor: { name: 5 } })).toBe('an object');
    expect(describe({ constructor: { name: refuse } })).toBe('an object');
    expect(describe(new Proxy({}, { get: refuse, getPrototypeOf: refuse }))).toBe('an object');
    const { proxy, revoke } = Proxy.revocable([], {});
    revoke();
    expect(describe(proxy)).toBe('an object');
    expect(describe([proxy, 1])).toBe('[an object, 1]');
    expect(describe(Object.defineProperty([1, 2], 0, { get: refuse }))).toBe('an object');
    expect(describe(Object.defineProperty(new Float32Array(2), 'constructor', { get: refuse }))).toBe('an object');
    expect(describe({ [Symbol.toPrimitive]: refuse, toString: refuse, toJSON: refuse })).toBe('Object');
    expect(describe(Symbol('\u001b'))).toBe('a symbol');
  });

  it('describe large and deep values at once and in few words', () => {
    let deep: unknown[] = [];
    for (let i = 0; i < 100_000; i++) deep = [deep];
    expect(describe(deep)).toBe('[[[[[...]]]]]');
    const cyclic: unknown[] = [];
    cyclic.push(cyclic, cyclic);
    expect(describe(cyclic).length).toBeLessThanOrEqual(400);
    expect(describe(new Array(2 ** 32 - 1))).toContain('...');
    expect(describe(1n << 1_000_000n)).toBe('a very large bigint');
    expect(describe(-(2n ** 100n))).toBe(String(-(2n ** 100n)));
    expect(describe(Array(8).fill('\u001b'.repeat(100)))).toHaveLength(400);
  });

  it('put no character of control into a message, wherever it comes from', () => {
    class Hostile {}
    Object.defineProperty(Hostile, 'name', { value: '\u001b]0;x\u0007\u202e\u2028\u{e0001}' });
    expect(describe(new Hostile())).toBe('\\u{1b}]0;x\\u{7}\\u{202e}\\u{2028}\\u{e0001}');
    expect(new ArgumentError('a\u001b[2J', 'less', 1).message).toBe('a\\u{1b}[2J: expected less, got 1');
    const anything = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withNullPrototype: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
      withObjectString: true,
      maxDepth: 6,
    });
    const named = fc.string({ unit: 'binary' }).map((name) => ({ constructor: { name } }));
    fc.assert(
      fc.property(fc.oneof(anything, named, fc.string({ unit: 'binary' }), fc.array(named)), (value) => {
        const phrase = describe(value);
        expect(phrase).not.toMatch(/[\p{Cc}\p{Cf}\u2028\u2029]/u);
        expect(phrase.length).toBeLessThanOrEqual(400);
        expect(phrase).not.toBe('');
      }),
      { numRuns: 500 },
    );
  });
});
