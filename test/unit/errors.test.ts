import { expect, describe as group, it } from 'vitest';
import { ArgumentError, CheckpointError, describe, LowRankError } from '../../lib/errors.js';

group('errors', () => {
  it('carry a code, the offending name, what was expected and what came', () => {
    const error = new ArgumentError('rank', 'a whole number', 1.5);
    expect(error).toBeInstanceOf(LowRankError);
    expect(error).toMatchObject({ name: 'ArgumentError', code: 'ERR_ARGUMENT', argument: 'rank' });
    expect(error.message).toBe('rank: expected a whole number, got 1.5');
    const cause = new Error('below');
    expect(
      new CheckpointError('ERR_CHECKPOINT_IO', 'Short', 'a.safetensors', 'is short', { cause, hint: 'copy it again' }),
    ).toMatchObject({
      ...{ message: 'a.safetensors: is short', kind: 'Short', file: 'a.safetensors', hint: 'copy it again', cause },
    });
  });

  it('describe any value shortly and harmlessly', () => {
    expect(describe(undefined)).toBe('undefined');
    expect(describe(10n)).toBe('10');
    expect(describe('x'.repeat(100))).toHaveLength(62);
    expect(describe('a\u001b[31m\u009b\u202e\n')).toBe('"a\\u001b[31m\\u009b\\u202e\\n"');
    expect(describe([1, [2], 'c'])).toBe('[1, [2], "c"]');
    expect(describe(Array(20).fill(0))).toBe('[0, 0, 0, 0, 0, 0, 0, 0, ...]');
    expect(describe(new Float64Array(2))).toBe('Float64Array of 16 bytes');
    expect(describe(() => 1)).toBe('a function');
    expect(describe(Object.create(null))).toBe('an object');
    expect(describe(new Map())).toBe('Map');
  });
});
