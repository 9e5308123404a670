import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { laser, laserSync } from '../../../lib/lowrank/laser.js';
import { memoryUsage } from '../../../lib/memory.js';
import { gaussian } from '../../support/matrices.js';

describe('asynchronous calls', () => {
  it('200 at once are all right', async () => {
    const inputs = Array.from({ length: 200 }, (_, i) => gaussian([20 + (i % 7), 15 + (i % 5)], i + 1));
    const results = await Promise.all(inputs.map((w) => laser(w, { rank: 4 })));
    results.forEach(({ data }, i) => expect(data).toEqual(laserSync(inputs[i]!, { rank: 4 }).data));
    expect(memoryUsage().native.now).toBe(0);
  });

  it('leave the event loop and the file system free', async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 2);
    const running = Promise.all(
      Array.from({ length: 6 }, (_, i) => laser(gaussian([500, 500], i + 1), { rank: 9, method: 'exact' })),
    );
    const begin = performance.now();
    await readFile('package.json');
    const read = performance.now() - begin;
    await running;
    const whole = performance.now() - begin;
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(5);
    expect(read).toBeLessThan(whole / 2);
  });

  it('do not depend on who else computes', async () => {
    const [small, large] = [gaussian([40, 40], 1), gaussian([400, 300], 2)];
    const alone = [laserSync(small, { rank: 7 }).data, laserSync(large, { rank: 7 }).data];
    const mixed = await Promise.all(
      Array.from({ length: 30 }, (_, i) => laser(i % 3 ? small : large, { rank: 7, threads: 2 })),
    );
    const alone2 = [laserSync(small, { rank: 7, threads: 2 }).data, laserSync(large, { rank: 7, threads: 2 }).data];
    mixed.forEach(({ data }, i) => expect(data).toEqual(alone2[i % 3 ? 0 : 1]));
    expect(alone[0]).toHaveLength(1600);
  });
});

describe('signals', () => {
  it('an aborted signal refuses at once, with its reason', async () => {
    const reason = new Error('enough');
    await expect(laser(gaussian([4, 4]), { rank: 1, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  it('aborting ends the calls that wait and the batches that run, and frees their memory', async () => {
    const controller = new AbortController();
    const { signal } = controller;
    const w = gaussian([30, 120, 120]);
    const calls = Array.from({ length: 20 }, () => laser(w, { rank: 5, method: 'exact', signal }));
    const begin = performance.now();
    setTimeout(() => controller.abort(), 20);
    const outcomes = await Promise.allSettled(calls);
    expect(performance.now() - begin).toBeLessThan(2000);
    const aborted = outcomes.filter((o) => o.status === 'rejected' && o.reason.name === 'AbortError');
    expect(aborted.length).toBeGreaterThan(10);
    expect(memoryUsage().native.now).toBe(0);
  });
});

describe('progress', () => {
  // Half a second of work on one thread: longer than what lies between two reports.
  const w = gaussian([400, 100, 100]);

  it('grows from 0 to 1', async () => {
    const shares: number[] = [];
    await laser(w, { rank: 5, method: 'exact', threads: 1, onProgress: (share) => shares.push(share) });
    expect(shares.length).toBeGreaterThan(1);
    expect(shares.at(-1)).toBe(1);
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
  });

  it('a fault in the listener stops the work and rejects the promise', async () => {
    const fault = new Error('in the listener');
    const onProgress = () => {
      throw fault;
    };
    await expect(laser(w, { rank: 5, method: 'exact', threads: 1, onProgress })).rejects.toBe(fault);
  });
});
