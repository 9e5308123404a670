import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { factorize, Lora, laser, Parameter, randn, svdSync, tensor, zeros } from '../../../lib/index.js';

const lines = (value: unknown, options = {}) => inspect(value, options).split('\n');

describe('a printed tensor', () => {
  it('shows its shape, and rows with the decimal points below each other', () => {
    expect(
      lines(
        tensor([
          [1, 2.25],
          [-3.5, 4],
        ]),
      ),
    ).toEqual(['Tensor [2, 2]', '[[ 1.    2.25]', ' [-3.5   4.  ]]']);
    expect(lines(tensor([0.1, 1 / 3]))).toEqual(['Tensor [2]', '[0.1    0.3333]']);
    expect(lines(zeros([0, 3]))).toEqual(['Tensor [0, 3]', '[]']);
    expect(lines(tensor([5]).reshape([]))).toEqual(['Tensor []', '5.']);
    expect(String(tensor([[1, 2]]))).toBe('Tensor [1, 2]\n[[1. 2.]]');
  });

  it('leaves out the middle of long axes', () => {
    const printed = lines(randn([300, 200]));
    expect(printed).toHaveLength(8);
    expect(printed[4]).toBe(' ...');
    expect(printed[1]).toMatch(/^\[\[( *-?\d\.\d+){3} +\.\.\.( *-?\d\.\d+){3}\s*\]$/);
  });

  it('keeps within the width, and indents what is inside an object', () => {
    for (const line of lines(randn([2, 100]), { breakLength: 60 })) expect(line.length).toBeLessThanOrEqual(60);
    const inside = lines(
      svdSync(
        tensor([
          [2, 0],
          [0, 1],
        ]),
      ),
    );
    expect(inside[0]).toBe('{');
    for (const line of inside.slice(1, -1)) expect(line).toMatch(/^ {2}/);
    expect(inspect({ a: { b: { c: { w: zeros([2]) } } } })).toContain('[Object]');
    expect(inspect([[[zeros([2])]]], { depth: 2 })).toContain('[Tensor [2]]');
  });

  it('names other numbers, and says what it is', () => {
    expect(lines(tensor([Number.NaN, 1, Number.NEGATIVE_INFINITY]))).toEqual(['Tensor [3]', '[ nan   1. -inf]']);
    expect(lines(new Parameter(zeros([1])))[0]).toBe('Parameter [1]');
  });
});

describe('printed results', () => {
  it('are the figures of a LowRank and a certificate', async () => {
    const w = randn([30, 20]);
    const factors = await factorize(w, { rank: 3 });
    expect(lines(factors)).toEqual([
      'LowRank [30, 20], rank 3: b [30, 3], a [3, 20]',
      '  150 numbers instead of 600 (25.00 %)',
      expect.stringMatching(/^ {2}relative error 0\.\d+, energy kept \d\d\.\d\d %, excess at most \S+$/),
      expect.stringMatching(/^ {2}norm \d+\.?\d*, largest dropped singular value \d/),
      expect.stringMatching(/^ {2}by \w+, .* s, .*B$/),
    ]);
    const { certificate } = await laser.certified(w, { rank: 3 });
    expect(lines(certificate)[0]).toBe('Certificate of rank 3');
    expect(Object.keys(certificate)).toContain('relativeError');
    expect(JSON.parse(JSON.stringify(certificate))).toEqual({ ...certificate });
    expect(lines((await factorize(zeros([2, 2]), { rank: 1 })).certificate).length).toBe(4);
  });

  it('is the form of a Lora', () => {
    expect(inspect(new Lora({ dim: 128, dimOut: 64 }))).toBe(
      'Lora 128 -> 64, r 8, alpha 1, scale 0.125, 1,536 parameters',
    );
  });
});
