import { describe, expect, it } from 'vitest';
import { planEdits } from '../../../lib/edit/plan.js';
import { paperIntervention, parseAt, parseTensorSpec } from '../../../lib/interventions/spec.js';
import { fakeCheckpoint, repeated } from '../../support/fake-checkpoint.js';

const gpt2 = () =>
  fakeCheckpoint(
    repeated(2, { 'h.#.attn.c_attn.weight': [8, 24], 'h.#.ln_1.weight': [8], 'h.#.mlp.c_fc.weight': [8, 32] }),
    { model_type: 'gpt2' },
  );

describe('planEdits', () => {
  it('finds matrices, ranks and slices, in the order of the checkpoint', () => {
    const { edits, family } = planEdits(gpt2(), { interventions: ['1:fc_in:0.5', '0-1:v_proj,q_proj:0.29'] });
    expect(family).toBe('gpt2');
    expect(edits.map(({ tensor, slice, rank, shape }) => [tensor, slice?.ranges[0]?.[0], rank, shape])).toEqual([
      ['h.0.attn.c_attn.weight', 0, 2, [8, 8]],
      ['h.0.attn.c_attn.weight', 16, 2, [8, 8]],
      ['h.1.attn.c_attn.weight', 0, 2, [8, 8]],
      ['h.1.attn.c_attn.weight', 16, 2, [8, 8]],
      ['h.1.mlp.c_fc.weight', undefined, 4, [8, 32]],
    ]);
  });

  it("ranks by the decimal for a fraction, by the paper's floating point for a rate", () => {
    const checkpoint = fakeCheckpoint({ w: [1000, 1200] });
    const [edit] = planEdits(checkpoint, { interventions: [parseTensorSpec('w:0.01')] }).edits;
    expect(edit!.rank).toBe(10);
    const gptj = fakeCheckpoint(
      repeated(1, {
        'transformer.h.#.mlp.fc_in.weight': [4000, 1000],
        'transformer.h.#.mlp.fc_out.weight': [4096, 4096],
      }),
      { model_type: 'gptj' },
    );
    const flags = (lname: string) => paperIntervention({ lnum: 0, lname, rate: 9.9 });
    expect(planEdits(gptj, { interventions: [flags('fc_in')] }).edits[0]!.rank).toBe(9);
    expect(planEdits(gptj, { interventions: [flags('fc_out')] }).edits[0]!.rank).toBe(40);
  });

  it('knows which edits keep the bytes', () => {
    const identity = (spec: string, kind?: 'dropout' | 'zero') =>
      planEdits(gpt2(), { interventions: [parseAt(spec, kind)] }).edits[0]!.identity;
    expect(identity('0:fc_in:1')).toBe(true);
    expect(identity('0:fc_in:0.99')).toBe(false);
    expect(identity('0:fc_in:0')).toBe(false);
    expect(identity('0:fc_in:1', 'dropout')).toBe(true);
    expect(identity('0:fc_in:0.99', 'dropout')).toBe(false);
    expect(identity('0:fc_in:1', 'zero')).toBe(false);
  });

  it('plans nothing for dont, of whatever model', () => {
    const plan = planEdits(fakeCheckpoint({ w: [2, 2] }), { interventions: ['3:dont:0.5'] });
    expect(plan.edits).toEqual([]);
    expect(plan.memory).toMatchObject({ buffers: 0, native: 0 });
  });

  it('names both interventions that meet on a matrix', () => {
    const meet =
      (...specs: string[]) =>
      () =>
        planEdits(gpt2(), { interventions: specs });
    expect(meet('0-1:fc_in:0.5', 'all:mlp:0.1')).toThrow(
      'h.0.mlp.c_fc.weight: selected twice, by "0-1:fc_in:0.5" and by "all:mlp:0.1"',
    );
    expect(meet('0:q_proj:0.5', '0:attn:0.1')).toThrow('by "0:q_proj:0.5" and by "0:attn:0.1"');
    expect(meet('0:fc_in,mlp:0.5')).toThrow('selected twice by "0:fc_in,mlp:0.5"');
    expect(meet('0:q_proj:0.5', '0:k_proj:0.1', '1:q_proj:0.1')).not.toThrow();
  });

  it('takes tensors of any model by name', () => {
    const checkpoint = fakeCheckpoint({
      'blocks.0.w': [4, 4],
      'blocks.1.w': [4, 4],
      'blocks.1.b': [4],
      'x/y.w': [4, 4],
    });
    const names = (glob: string) =>
      planEdits(checkpoint, { interventions: [parseTensorSpec(`${glob}:0.5`)] }).edits.map(({ tensor }) => tensor);
    expect(names('blocks.*.w')).toEqual(['blocks.0.w', 'blocks.1.w']);
    expect(names('{blocks.0,x/y}.w')).toEqual(['blocks.0.w', 'x/y.w']);
    expect(names('**.w')).toContain('blocks.0.w');
    expect(() => names('layers.*')).toThrow(expect.objectContaining({ code: 'ERR_NOT_FOUND' }));
  });

  it('takes the tensor with exactly this name, even if the name is also a glob', () => {
    const checkpoint = fakeCheckpoint({ 'a[0]': [4, 4], a0: [4, 4], 'b*': [4, 4], bc: [4, 4] });
    const names = (glob: string) =>
      planEdits(checkpoint, { interventions: [parseTensorSpec(`${glob}:0.5`)] }).edits.map(({ tensor }) => tensor);
    expect(names('a[0]')).toEqual(['a[0]']);
    expect(names('b*')).toEqual(['b*']);
    expect(names('a[01]')).toEqual(['a0']);
  });

  describe('with a glob that also matches tensors that are not matrices', () => {
    const checkpoint = fakeCheckpoint(
      {
        'layer.2.ln.weight': [8],
        'layer.2.fc.weight': [8, 6],
        'layer.2.experts.weight': [4, 6, 8],
        'layer.2.conv.weight': [2, 2, 3, 3],
        'layer.2.empty.weight': [0, 4],
        'layer.2.position_ids': [1, 8],
        'layer.2.mask': [8, 8],
        'layer.2.packed.qweight': [8, 8],
      },
      undefined,
      { 'layer.2.position_ids': 'I64', 'layer.2.mask': 'BOOL', 'layer.2.packed.qweight': 'I32' },
    );
    const plan = (...specs: string[]) => planEdits(checkpoint, { interventions: specs.map((s) => parseTensorSpec(s)) });

    it('edits the matrices and names the rest', () => {
      const { edits, skipped } = plan('*layer.2.*.weight:0.5');
      expect(edits.map(({ tensor }) => tensor)).toEqual(['layer.2.fc.weight', 'layer.2.experts.weight']);
      const rest = ['layer.2.ln.weight', 'layer.2.conv.weight', 'layer.2.empty.weight'];
      expect(skipped).toEqual([{ glob: '*layer.2.*.weight', matched: 5, tensors: rest }]);
      expect(plan('*.{fc,mask,position_ids}*:0.5').skipped[0]!.tensors).toEqual([
        'layer.2.position_ids',
        'layer.2.mask',
      ]);
      expect(plan('*.fc.*:0.5').skipped).toEqual([]);
    });

    it('fails without a matrix among them, or for an exact name', () => {
      expect(() => plan('*.{ln,conv}.weight:0.5')).toThrow(
        expect.objectContaining({
          code: 'ERR_SHAPE',
          message: '"*.{ln,conv}.weight": matches 2 tensors, but no matrix: layer.2.ln.weight is F32 [8]',
        }),
      );
      expect(() => plan('*.fc.weight:0.5', '*.ln.weight:0.5')).toThrow(/"\*\.ln\.weight": matches 1 tensor, but/);
      expect(() => plan('layer.2.ln.weight:0.5')).toThrow(/layer\.2\.ln\.weight: shape \[8\] is neither/);
    });

    it('does not pass over matrices that it cannot read', () => {
      expect(() => plan('*layer.2.*:0.5')).toThrow(/packed\.qweight: dtype I32 cannot be edited/);
    });
  });

  it('takes 3D tensors as batches and refuses other shapes', () => {
    const checkpoint = fakeCheckpoint({ experts: [4, 6, 8], bias: [8], conv: [2, 2, 3, 3], empty: [0, 4] });
    const plan = (name: string) => planEdits(checkpoint, { interventions: [parseTensorSpec(`${name}:0.5`)] });
    expect(plan('experts').edits[0]).toMatchObject({ rank: 3, shape: [4, 6, 8] });
    for (const name of ['bias', 'conv', 'empty']) {
      expect(() => plan(name)).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
      expect(() => plan(name)).toThrow(name);
    }
  });

  it('refuses dtypes that are not floats, naming tensor and dtype', () => {
    const checkpoint = fakeCheckpoint({ w: [4, 4] }, undefined, { w: 'I8' });
    const plan = () => planEdits(checkpoint, { interventions: [parseTensorSpec('w:0.5')] });
    expect(plan).toThrow(expect.objectContaining({ code: 'ERR_UNSUPPORTED' }));
    expect(plan).toThrow('w: dtype I8 cannot be edited');
  });

  it('refuses to plan nothing at all', () => {
    expect(() => planEdits(gpt2(), { interventions: [] })).toThrow('interventions: expected at least one');
  });

  it('predicts more memory for larger matrices, and none for unchanged ones', () => {
    const checkpoint = fakeCheckpoint({ small: [64, 64], large: [512, 512] });
    const memory = (spec: string) => planEdits(checkpoint, { interventions: [parseTensorSpec(spec)] }).memory;
    const [small, large] = [memory('small:0.5'), memory('large:0.5')];
    // As stored and as float32.
    expect(large.buffers).toBe(2 * 4 * 512 * 512);
    expect(large.native).toBeGreaterThan(4 * 512 * 512);
    expect(large.native).toBeGreaterThan(small.native);
    expect(large.total).toBeGreaterThan(large.buffers + large.native);
    expect(memory('large:1')).toMatchObject({ buffers: 0, native: 0 });
  });
});
