import { readdir } from 'node:fs/promises';
import { beforeAll, describe, expect, it } from 'vitest';
import { changedTensors, weights, writeModel } from '../support/checkpoints.js';
import { spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';

const at = temporaryPaths();
const N = 1200;
let source: string;

beforeAll(async () => {
  const names = Array.from({ length: 8 }, (_, i) => `w${i}`);
  source = await writeModel(at('source'), new Map(names.map((name, i) => [name, weights([N, N], 'F32', i + 1)])), {
    config: {},
  });
});

const laser = (out: string, ...more: string[]) =>
  spawnLowrank(['laser', source, '-o', out, '--tensor', 'w*:0.1', '--json', ...more]);

/** Edits three of the matrices. */
const laserThree = (out: string, ...more: string[]) =>
  spawnLowrank(['laser', source, '-o', out, '--tensor', 'w[0-2]:0.1', '--json', ...more]);

describe('memory', () => {
  it.each(['auto', 'exact', 'gram'])('is predicted from above, and not by far, with %s', async (method) => {
    const run = await laserThree(at(`predicted-${method}`), '--method', method);
    expect(run.code).toBe(0);
    const { memory } = JSON.parse(run.stdout);
    expect(memory.measured.peakRss).toBeLessThanOrEqual(memory.predicted.total);
    expect(memory.measured.peakRss).toBeGreaterThan(memory.predicted.total / 3);
    expect(memory.measured.nativePeak).toBeLessThanOrEqual(memory.predicted.native);
  });

  it('stays within the limit, or the job is refused before it starts', async () => {
    const refused = await laser(at('refused'), '--memory', '1MB');
    expect(refused.code).toBe(1);
    const { error } = JSON.parse(refused.stdout);
    expect(error.code).toBe('ERR_MEMORY');
    expect(error.message).toMatch(/^w\d: needs \d+ bytes of memory, but only 1000000 are allowed$/);
    expect(error.hint).toMatch(/^Allow at least \d+ MB/);
    expect((await readdir(at())).filter((name) => name.includes('refused'))).toEqual([]);

    const needed = Number(/needs (\d+) bytes/.exec(error.message)![1]) + 16e6;
    const run = await laser(at('tight'), '--memory', `${needed}`);
    expect(run.code).toBe(0);
    expect(JSON.parse(run.stdout).memory.measured.peakRss).toBeLessThanOrEqual(needed);
    expect(await changedTensors(source, at('tight'))).toHaveLength(8);
  });

  it('changes no byte when there is plenty', async () => {
    expect((await laserThree(at('plenty'), '--memory', '64GB')).code).toBe(0);
    expect((await laserThree(at('unlimited'))).code).toBe(0);
    expect(await changedTensors(source, at('plenty'))).toEqual(['w0', 'w1', 'w2']);
    expect(await changedTensors(at('plenty'), at('unlimited'))).toEqual([]);
  });
});
