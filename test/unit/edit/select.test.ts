import { describe, expect, it } from 'vitest';
import { settleAmount } from '../../../lib/edit/amounts.js';
import { planEdits } from '../../../lib/edit/plan.js';
import { selectMatrices } from '../../../lib/edit/select.js';
import { parseAt, parseTensorSpec } from '../../../lib/interventions/spec.js';
import { fakeCheckpoint, repeated } from '../../support/fake-checkpoint.js';

const checkpoint = fakeCheckpoint(
  repeated(2, { 'h.#.attn.c_attn.weight': [8, 24], 'h.#.mlp.c_fc.weight': [8, 32], 'h.#.mlp.c_proj.weight': [32, 8] }),
  { model_type: 'gpt2' },
);

describe('selectMatrices', () => {
  it('finds the same matrices whatever the amount', () => {
    const found = (spec: string) => {
      const { matrices, family } = selectMatrices(checkpoint, [parseAt(spec)]);
      return { family, places: matrices.map(({ tensor, slice, shape }) => [tensor, slice?.ranges[0]?.[0], shape]) };
    };
    expect(found('all:mlp,k_proj:1')).toEqual(found('all:mlp,k_proj:0.01'));
    expect(found('1:mlp:0.5')).toEqual({
      family: 'gpt2',
      places: [
        ['h.1.mlp.c_fc.weight', undefined, [8, 32]],
        ['h.1.mlp.c_proj.weight', undefined, [32, 8]],
      ],
    });
  });
});

describe('a selection by name', () => {
  const convolutions = fakeCheckpoint({ 'conv.weight': [8, 3, 5, 5], 'audio.weight': [8, 4, 3], 'fc.weight': [8, 8] });
  const shapes = (glob: string, flatten?: boolean) =>
    selectMatrices(convolutions, [parseTensorSpec(`${glob}:0.5`)], { flatten }).matrices.map(({ shape }) => shape);

  it('takes convolutions as matrices of their first dimension and all others, if asked to', () => {
    expect(shapes('*.weight', true)).toEqual([
      [8, 75],
      [8, 12],
      [8, 8],
    ]);
    expect(shapes('*.weight')).toEqual([
      [8, 4, 3],
      [8, 8],
    ]);
  });

  it('says how to take one that is selected by its name', () => {
    expect(() => shapes('conv.weight')).toThrow(
      expect.objectContaining({ code: 'ERR_SHAPE', hint: expect.stringContaining('--flatten') }),
    );
  });
});

describe('settleAmount', () => {
  it('makes the edits of a plan, and others from amounts chosen later', () => {
    const interventions = [parseAt('0:mlp:0.25')];
    const { matrices } = selectMatrices(checkpoint, interventions);
    const settle = (rankFraction: (i: number) => number) =>
      matrices.map((matrix, i) =>
        settleAmount(checkpoint.tensors.get(matrix.tensor)!, matrix, { rankFraction: rankFraction(i) }, undefined),
      );
    expect(settle(() => 0.25)).toEqual(planEdits(checkpoint, { interventions }).edits);
    const chosen = settle((i) => (i === 0 ? 0.5 : 1));
    expect(chosen.map(({ rank, identity }) => [rank, identity])).toEqual([
      [4, false],
      [8, true],
    ]);
    expect(chosen[0]!.intervention.amount).toEqual({ rankFraction: 0.5 });
  });
});
