import { describe, expect, it } from 'vitest';
import { comparisonLines } from '../../../lib/cli/terminal/comparison.js';
import type { ComparedModel, ModelComparison } from '../../../lib/evaluate/compare/compare.js';
import { screen } from '../../support/cli.js';

const model = (checkpoint: string, accuracy: number, rest: Partial<ComparedModel> = {}): ComparedModel =>
  ({
    checkpoint,
    bytes: 1000,
    parameters: 10,
    loadMilliseconds: 1,
    latency: [],
    summary: { accuracy: { value: accuracy, low: accuracy - 0.1, high: accuracy + 0.1, examples: 100 } },
    accuracyChange: undefined,
    ...rest,
  }) as unknown as ComparedModel;

const change = (difference: number, low: number, high: number): ComparedModel['accuracyChange'] => ({
  metric: 'accuracy',
  difference,
  low,
  high,
  pairs: 100,
  better: 0.5,
});

describe('the tables of a comparison', () => {
  it('have the change of each accuracy, and say where it may be chance', () => {
    const comparison = {
      original: model('a', 0.5),
      candidates: [
        model('b', 0.6, { accuracyChange: change(0.1, 0.02, 0.18) }),
        model('c', 0.48, { accuracyChange: change(-0.02, -0.06, 0.02) }),
      ],
      texts: 0,
      tokens: 0,
      questions: 100,
      engine: 'onnx',
      outputs: undefined,
      seconds: 1,
    } as ModelComparison;
    const lines = comparisonLines(comparison, screen(100).terminal.out).map((line) => line.replace(/ +/g, ' '));
    expect(lines.filter((line) => line.includes('accuracy'))).toEqual([
      'a accuracy 50.00 % 40.00 % to 60.00 %',
      'b accuracy 60.00 % 50.00 % to 70.00 %',
      'b accuracy change +10.00 points +2.00 to +18.00',
      'c accuracy 48.00 % 38.00 % to 58.00 %',
      'c accuracy change -2.00 points -6.00 to +2.00, not significant',
    ]);
  });
});
