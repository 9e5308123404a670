import { describe, expect, it } from 'vitest';
import { byteSize } from '../../../lib/cli/byte-size.js';
import { countOfTensors } from '../../../lib/edit/budget.js';
import type { PlanOptions } from '../../../lib/edit/plan.js';
import { planEdits } from '../../../lib/edit/plan.js';
import { parseTensorSpec } from '../../../lib/interventions/spec.js';
import { memoryUsage } from '../../../lib/memory.js';
import { fakeCheckpoint } from '../../support/fake-checkpoint.js';

const checkpoint = fakeCheckpoint({ small: [64, 64], a: [4096, 4096], b: [4096, 4096], c: [4096, 4096] });
const plan = (options: Partial<PlanOptions> = {}, spec = '*:0.1') =>
  planEdits(checkpoint, { interventions: [parseTensorSpec(spec)], ...options });

/** The least that is accepted, from the refusal's own message. */
function least(options: Partial<PlanOptions> = {}): number {
  try {
    plan({ ...options, maxMemory: 1e6 });
  } catch (error) {
    const [, bytes] = /needs (\d+) bytes/.exec((error as Error).message)!;
    return Number(bytes);
  }
  throw new Error('expected a refusal');
}

describe('a limit of memory', () => {
  it('changes nothing if there is enough', () => {
    const { settings, memory } = plan();
    expect(settings).toMatchObject({ overlap: true, method: 'auto', choices: undefined });
    const ample = plan({ maxMemory: 64e9 });
    expect(ample.settings).toMatchObject({ overlap: true, threads: settings.threads });
    expect(ample.settings.choices?.every(({ method }) => method === 'auto')).toBe(true);
    // The process itself may have grown between the two.
    expect(Math.abs(ample.memory.total - memory.total)).toBeLessThan(64e6);
    expect(memory.tensor).toMatch(/^[abc]$/);
  });

  it('refuses before anything starts, naming the tensor and a sufficient number', () => {
    expect(() => plan({ maxMemory: 1e6 })).toThrow(expect.objectContaining({ code: 'ERR_MEMORY' }));
    expect(() => plan({ maxMemory: 1e6 })).toThrow(/^[abc]: needs \d+ bytes of memory, but only 1000000 are allowed$/);
    const enough = least() + 32e6;
    const { settings, memory } = plan({ maxMemory: enough });
    expect(memory.total).toBeLessThanOrEqual(enough + 32e6);
    // With the least, nothing can be at once, and the decomposition is told what it may take.
    expect(settings.overlap).toBe(false);
    const choice = settings.choices![1]!;
    expect(choice.maxMemory).toBeGreaterThan(0);
    expect(choice.maxMemory).toBeLessThan(enough - memoryUsage().process.rss + 32e6);
  });

  it('gives up overlap first, and takes another method last', () => {
    const unlimited = plan().memory.total;
    const found = new Set<string>();
    for (let limit = least() + 16e6; limit < 2 * unlimited; limit += 16e6) {
      const { settings } = plan({ maxMemory: limit });
      found.add(String(settings.overlap));
    }
    expect([...found]).toEqual(['false', 'true']);
  });

  it('works on fewer tensors beside each other before it gives up anything else', () => {
    const count = (maxMemory: number | undefined) => {
      const { edits, settings, memory } = plan({ threads: 4, ...(maxMemory !== undefined && { maxMemory }) });
      return { beside: countOfTensors(checkpoint, edits, settings, maxMemory), settings, memory };
    };
    const free = count(undefined);
    expect(free.beside).toBeGreaterThan(1);
    let before = 1;
    for (let limit = least({ threads: 4 }) + 64e6; before < free.beside; limit += 64e6) {
      const { beside, settings, memory } = count(limit);
      expect(beside).toBeGreaterThanOrEqual(before);
      if (beside > 1) expect(settings).toMatchObject({ overlap: true, threads: 4 });
      expect(memory.total).toBeLessThan(limit + 64e6);
      before = beside;
      expect(limit).toBeLessThan(16e9);
    }
  });

  it('keeps the method and threads that were asked for', () => {
    const exact = plan({ method: 'exact', threads: 1, maxMemory: 8e9 });
    expect(exact.settings.threads).toBe(1);
    expect(exact.settings.choices!.every(({ method }) => method === 'exact')).toBe(true);
    expect(least({ method: 'exact', threads: 1 })).toBeGreaterThan(least({ threads: 1 }));
    for (const maxMemory of [0, -1, 1.5, Number.NaN]) {
      expect(() => plan({ maxMemory })).toThrow('maxMemory: expected a whole number');
    }
  });
});

describe('an amount of memory in words', () => {
  it('has units of 1000 and of 1024', () => {
    expect(byteSize('2GB')).toBe(2e9);
    expect(byteSize('2 GiB')).toBe(2 * 2 ** 30);
    expect(byteSize('1.5mb')).toBe(1.5e6);
    expect(byteSize('512KiB')).toBe(512 * 1024);
    expect(byteSize('3KB')).toBe(3000);
    expect(byteSize('1000')).toBe(1000);
    expect(byteSize('7B')).toBe(7);
    for (const text of ['', '0', 'GB', '-1GB', '2G', '1e9', '2 GB!', '0x10', '99999999TB']) {
      expect(() => byteSize(text)).toThrow('Expected a size');
    }
  });
});
