import { describe, expect, it } from 'vitest';
import { outputLoss } from '../../../lib/compress/probe.js';

describe('the loss of outputs', () => {
  const before = Float32Array.of(1, 2, 3, -1, 0, 1);

  it('is 0 where nothing changes, or a constant is added to a vector, as softmax has it', () => {
    expect(outputLoss(before, before, 3)).toBe(0);
    expect(outputLoss(before, Float32Array.of(6, 7, 8, -3, -2, -1), 3)).toBe(0);
  });

  it('is the share of the squared length that is lost, summed over the vectors', () => {
    expect(outputLoss(before, new Float32Array(6), 3)).toBeCloseTo(2, 6);
    expect(outputLoss(before, Float32Array.of(1, 2, 3, 0, 0, 0), 3)).toBeCloseTo(1, 6);
    expect(outputLoss(before, Float32Array.of(1.5, 2, 2.5, -1, 0, 1), 3)).toBeCloseTo(0.25, 6);
  });

  it('counts vectors without length for nothing', () => {
    expect(outputLoss(new Float32Array(3), before.subarray(0, 3), 3)).toBe(0);
  });
});
