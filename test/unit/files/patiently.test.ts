import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { patiently } from '../../../lib/files/patiently.js';

const failure = (code: string) => Object.assign(new Error(code), { code });
const waits: number[] = [];

vi.mock('node:timers/promises', () => ({
  setTimeout: async (ms: number) => {
    waits.push(ms);
  },
}));

beforeEach(() => {
  waits.length = 0;
});
afterEach(() => {
  vi.clearAllMocks();
});

describe('patiently', () => {
  it.each(['EPERM', 'EACCES', 'EBUSY'])(
    'repeats a call on Windows until no program holds the file (%s)',
    async (code) => {
      const act = vi
        .fn(async () => 'done')
        .mockRejectedValueOnce(failure(code))
        .mockRejectedValueOnce(failure(code));
      expect(await patiently(act, 'win32')).toBe('done');
      expect(act).toHaveBeenCalledTimes(3);
      expect(waits).toEqual([10, 20]);
    },
  );

  it('gives up after five seconds with the last error', async () => {
    const denied = failure('EACCES');
    await expect(patiently(() => Promise.reject(denied), 'win32')).rejects.toBe(denied);
    const waited = waits.reduce((sum, ms) => sum + ms, 0);
    expect(waited).toBeLessThanOrEqual(5000);
    expect(waited).toBeGreaterThan(2500);
  });

  it.each([
    ['win32', 'ENOENT'],
    ['win32', 'ENOSPC'],
    ['linux', 'EACCES'],
    ['darwin', 'EBUSY'],
  ] as const)('fails at once on %s with %s', async (platform, code) => {
    const act = vi.fn(() => Promise.reject(failure(code)));
    await expect(patiently(act, platform)).rejects.toMatchObject({ code });
    expect(act).toHaveBeenCalledTimes(1);
    expect(waits).toEqual([]);
  });
});
