import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Measurements } from '../../../lib/compress/measurements.js';
import { temporaryFolder } from '../../support/folder.js';

describe('measurements', () => {
  it('are made once for what determines them, also in a later run', async () => {
    const folder = temporaryFolder();
    let calls = 0;
    const measure = async () => ++calls;
    const first = await Measurements.open(folder);
    expect(await first.of({ layer: 'a', rank: 8 }, measure)).toBe(1);
    expect(await first.of({ layer: 'a', rank: 8 }, measure)).toBe(1);
    expect(await first.of({ layer: 'a', rank: 16 }, measure)).toBe(2);
    await first.close();
    const second = await Measurements.open(folder);
    expect(await second.of({ layer: 'a', rank: 16 }, measure)).toBe(2);
    expect(calls).toBe(2);
    await second.close();
  });

  it('keep what was finished before a torn line, and nothing of a failed measurement', async () => {
    const folder = temporaryFolder();
    const first = await Measurements.open(folder);
    await first.of(1, async () => 0.5);
    await expect(first.of(2, () => Promise.reject(new Error('stopped')))).rejects.toThrow('stopped');
    await first.close();
    await writeFile(join(folder, 'measurements'), 'torn', { flag: 'a' });
    const second = await Measurements.open(folder);
    expect(await second.of(1, async () => 9)).toBe(0.5);
    expect(await second.of(2, async () => 7)).toBe(7);
    await second.close();
  });
});
