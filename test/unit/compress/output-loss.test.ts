import { describe, expect, it } from 'vitest';
import { outputLoss, returned } from '../../../lib/compress/output-loss.js';

const tensor = (data: number[], dims: number[]) => ({ data: Float32Array.from(data), dims, type: 'float32' });
const lossOf = (name: string, dims: number[], before: number[], after: number[]) =>
  outputLoss(returned(name, tensor(before, dims)), returned(name, tensor(after, dims)));

describe('the loss of outputs', () => {
  it('is the mean divergence of logits, which a constant does not change', () => {
    const before = [1, 2, 3, -1, 0, 1];
    const same = lossOf('logits', [1, 2, 3], before, [6, 7, 8, -3, -2, -1]);
    expect(same.loss).toBeCloseTo(0, 6);
    expect(same.count).toBe(2);
    const [p, q] = [
      [0.5, 0.25, 0.25],
      [0.25, 0.25, 0.5],
    ] as const;
    const kl = p.reduce((sum, x, i) => sum + x * Math.log(x / q[i]!), 0);
    expect(lossOf('logits', [1, 1, 3], p.map(Math.log), q.map(Math.log)).loss).toBeCloseTo(kl, 6);
  });

  it('is the share of the squared length that vectors lose', () => {
    expect(lossOf('y', [2, 2], [3, 4, 1, 0], [3, 4, 0, 0])).toEqual({ loss: 0.5, count: 2 });
    expect(lossOf('logits', [2, 1], [3, 1], [3, 0])).toEqual({ loss: 0.5, count: 2 });
    expect(lossOf('y', [1, 2], [0, 0], [1, 1])).toEqual({ loss: 0, count: 1 });
  });

  it('is that of the mean over the tokens where it is the embedding', () => {
    const [before, after] = [
      [1, 0, 3, 0],
      [2, 0, 2, 0],
    ];
    expect(lossOf('last_hidden_state', [1, 2, 2], before, after)).toEqual({ loss: 0, count: 1 });
    expect(lossOf('hidden', [1, 2, 2], before, after).loss).toBeCloseTo((1 + 1 / 9) / 2, 6);
    const [x, y] = [
      [1, 0, 1, 0, 0, 2, 0, 2],
      [1, 0, 3, 0, 0, 2, 2, 0],
    ];
    expect(lossOf('last_hidden_state', [2, 2, 2], x, y).loss).toBeCloseTo((0 + (1 - Math.SQRT1_2)) / 2, 6);
    expect(lossOf('sentence_embedding', [1, 2], [2, 0], [1, 1]).loss).toBeCloseTo(1 - Math.SQRT1_2, 6);
  });
});
