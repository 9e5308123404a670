import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { SerialQueue } from '../../../lib/files/serial-queue.js';

describe('SerialQueue', () => {
  it('runs one action at a time, in order, also after a failure', async () => {
    const queue = new SerialQueue();
    const events: string[] = [];
    const action = (name: string, ms: number, error?: Error) => () => {
      events.push(`${name} begins`);
      return setTimeout(ms).then(() => {
        events.push(`${name} ends`);
        if (error !== undefined) throw error;
        return name;
      });
    };
    const failure = new Error('b');
    const done = Promise.allSettled([
      queue.run(action('a', 10)),
      queue.run(action('b', 5, failure)),
      queue.run(action('c', 0)),
    ]);
    await queue.idle();
    expect(events).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
    expect(await done).toEqual([
      { status: 'fulfilled', value: 'a' },
      { status: 'rejected', reason: failure },
      { status: 'fulfilled', value: 'c' },
    ]);
  });

  it('is idle when nothing is queued', async () => {
    await expect(new SerialQueue().idle()).resolves.toBeUndefined();
  });
});
