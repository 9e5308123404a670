import { describe, expect, it } from 'vitest';
import { describeProgress } from '../../lib/cli/terminal/progress.js';
import { sparkline } from '../../lib/cli/terminal/sparkline.js';
import type { EditProgress } from '../../lib/progress.js';
import {
  formatBytes,
  formatCount,
  formatError,
  formatSeconds,
  formatShape,
  formatShare,
} from '../../lib/text/format.js';

describe('numbers for people', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [65_536, '65.5 kB'],
    [999_400, '999 kB'],
    [999_600, '1.0 MB'],
    [13_476_831_232, '13.5 GB'],
    [2 ** 60, '1153 PB'],
  ])('%d bytes', (bytes, text) => expect(formatBytes(bytes)).toBe(text));

  it.each([
    [0, '0.00 s'],
    [0.994, '0.99 s'],
    [7.24, '7.2 s'],
    [9.96, '10 s'],
    [59.6, '1 min 00 s'],
    [185, '3 min 05 s'],
    [7620, '2 h 07 min'],
  ])('%d seconds', (seconds, text) => expect(formatSeconds(seconds)).toBe(text));

  it('counts, shares, errors and shapes', () => {
    expect(formatCount(1234567)).toBe('1,234,567');
    expect(formatShare(0.99914)).toBe('99.91 %');
    expect(formatError(0)).toBe('0');
    expect(formatError(0.1234)).toBe('0.123');
    expect(formatError(1.234e-7)).toBe('1.23e-7');
    expect(formatShape([8, 64, 32])).toBe('8 x 64 x 32');
    expect(formatShape([])).toBe('scalar');
  });
});

describe('sparkline', () => {
  it('falls with the values', () => {
    expect(sparkline([8, 4, 0])).toBe('█▅▁');
    expect(sparkline([0, 0])).toBe('▁▁');
    expect(sparkline([])).toBe('');
    expect([...sparkline(Array.from({ length: 1000 }, (_, i) => 1000 - i))]).toHaveLength(16);
  });
});

describe('describeProgress', () => {
  const progress: EditProgress = {
    phase: 'edit',
    name: 'model.layers.17.mlp.gate_proj.weight',
    done: 3,
    total: 24,
    bytesDone: 1.2e9,
    bytesTotal: 4.8e9,
    seconds: 35,
    remainingSeconds: 105,
  };

  it('shows matrices, bytes, seconds and the remaining time', () => {
    expect(describeProgress(progress, undefined)).toBe(
      '3/24 model.layers.17.mlp.gate_proj.weight 1.2 GB of 4.8 GB, 35 s, 1 min 45 s left',
    );
  });

  it('fits any terminal', () => {
    for (const phase of ['copy', 'edit', 'commit'] as const) {
      for (let width = 0; width < 100; width++) {
        expect(describeProgress({ ...progress, phase }, width).length).toBeLessThanOrEqual(width);
      }
    }
  });

  it('promises nothing before there is something to estimate from', () => {
    expect(describeProgress({ ...progress, remainingSeconds: undefined }, undefined)).not.toContain('left');
  });
});
