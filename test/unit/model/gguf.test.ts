import { describe, expect, it } from 'vitest';
import { Model } from '../../../lib/model/model.js';
import { requireFamily } from '../../../lib/model/recognise.js';
import type { LayerType } from '../../../lib/model/types.js';
import { describeSlice } from '../../../lib/tensor/slice.js';
import { fakeCheckpoint, repeated } from '../../support/fake-checkpoint.js';

const D = 16;
const F = 24;
const heads = { hidden_size: D, num_attention_heads: 4 };
const square = [D, D];

const separate = {
  'blk.#.attn_norm.weight': [D],
  'blk.#.attn_q.weight': square,
  'blk.#.attn_k.weight': [8, D],
  'blk.#.attn_v.weight': [8, D],
  'blk.#.attn_q_norm.weight': [4],
  'blk.#.attn_output.weight': square,
};
const fused = {
  'blk.#.attn_qkv.weight': [3 * D, D],
  'blk.#.attn_qkv.bias': [3 * D],
  'blk.#.attn_output.weight': square,
};
const plain = { 'blk.#.ffn_up.weight': [F, D], 'blk.#.ffn_down.weight': [D, F] };
const gated = { 'blk.#.ffn_gate.weight': [F, D], ...plain };
const experts = {
  'blk.#.ffn_gate_inp.weight': [3, D],
  'blk.#.ffn_gate_exps.weight': [3, F, D],
  'blk.#.ffn_up_exps.weight': [3, F, D],
  'blk.#.ffn_down_exps.weight': [3, D, F],
  'blk.#.ffn_up_shexp.weight': [F, D],
};
const thirds = ['attn_qkv.weight rows 0-15', 'attn_qkv.weight rows 16-31', 'attn_qkv.weight rows 32-47'];

interface Case {
  readonly title: string;
  readonly architecture: string;
  readonly family: string;
  readonly config?: Record<string, unknown>;
  readonly tensors: Readonly<Record<string, readonly number[]>>;
  /** For layer 1: what stands behind the layer's number, then the slice, if it is one. */
  readonly expected: Partial<Record<LayerType, readonly string[]>>;
}

const cases: readonly Case[] = [
  {
    title: 'llama: the gate is fc_in',
    architecture: 'llama',
    family: 'llama',
    tensors: { ...separate, ...gated },
    expected: {
      q_proj: ['attn_q.weight'],
      k_proj: ['attn_k.weight'],
      v_proj: ['attn_v.weight'],
      out_proj: ['attn_output.weight'],
      fc_in: ['ffn_gate.weight'],
      fc_up: ['ffn_up.weight'],
      fc_out: ['ffn_down.weight'],
    },
  },
  {
    title: 'qwen3moe: all experts of a layer in one tensor, a shared expert, no router',
    architecture: 'qwen3moe',
    family: 'llama',
    tensors: { ...separate, ...experts },
    expected: {
      fc_in: ['ffn_gate_exps.weight'],
      fc_up: ['ffn_up_exps.weight'],
      fc_out: ['ffn_down_exps.weight'],
      shared_up: ['ffn_up_shexp.weight'],
      mlp: ['ffn_gate_exps.weight', 'ffn_up_exps.weight', 'ffn_down_exps.weight', 'ffn_up_shexp.weight'],
    },
  },
  {
    title: 'llama: experts one by one, as old Mixtral files have them',
    architecture: 'llama',
    family: 'llama',
    tensors: { ...separate, 'blk.#.ffn_gate.0.weight': [F, D], 'blk.#.ffn_gate.1.weight': [F, D] },
    expected: { fc_in: ['ffn_gate.0.weight', 'ffn_gate.1.weight'] },
  },
  {
    title: 'experts with gate and up in one tensor',
    architecture: 'qwen3moe',
    family: 'llama',
    tensors: { ...separate, 'blk.#.ffn_gate_up_exps.weight': [3, 2 * F, D] },
    expected: { fc_in: ['ffn_gate_up_exps.weight rows 0-23'], fc_up: ['ffn_gate_up_exps.weight rows 24-47'] },
  },
  {
    title: 'gpt2: rows, where transformers has columns',
    architecture: 'gpt2',
    family: 'gpt2',
    tensors: { ...fused, ...plain },
    expected: {
      q_proj: [thirds[0]!],
      k_proj: [thirds[1]!],
      v_proj: [thirds[2]!],
      out_proj: ['attn_output.weight'],
      fc_in: ['ffn_up.weight'],
      fc_out: ['ffn_down.weight'],
      attn: ['attn_qkv.weight', 'attn_output.weight'],
    },
  },
  {
    title: 'gptneox: in order, where transformers interleaves heads',
    architecture: 'gptneox',
    family: 'gpt_neox',
    tensors: { ...fused, ...plain },
    expected: { q_proj: [thirds[0]!], v_proj: [thirds[2]!], fc_in: ['ffn_up.weight'] },
  },
  {
    title: 'falcon: one head of keys and values',
    architecture: 'falcon',
    family: 'falcon',
    config: { num_key_value_heads: 1 },
    tensors: { ...fused, ...plain, 'blk.#.attn_qkv.weight': [D + 8, D] },
    expected: {
      q_proj: ['attn_qkv.weight rows 0-15'],
      k_proj: ['attn_qkv.weight rows 16-19'],
      v_proj: ['attn_qkv.weight rows 20-23'],
    },
  },
  {
    title: 'phi3: gate and up in the tensor called up',
    architecture: 'phi3',
    family: 'phi3',
    tensors: { ...fused, 'blk.#.ffn_up.weight': [2 * F, D], 'blk.#.ffn_down.weight': [D, F] },
    expected: {
      k_proj: [thirds[1]!],
      fc_in: ['ffn_up.weight rows 0-23'],
      fc_up: ['ffn_up.weight rows 24-47'],
      mlp: ['ffn_up.weight', 'ffn_down.weight'],
    },
  },
  {
    title: 'deepseek2: sizes of heads as older files state them',
    architecture: 'deepseek2',
    family: 'deepseek',
    config: { head_dim: 6, qk_rope_head_dim: 2, v_head_dim: 3, kv_lora_rank: 8 },
    tensors: {
      'blk.#.attn_q_a.weight': [12, D],
      'blk.#.attn_q_b.weight': [24, 12],
      'blk.#.attn_kv_a_mqa.weight': [10, D],
      'blk.#.attn_kv_b.weight': [28, 8],
      'blk.#.attn_output.weight': [D, 12],
      ...experts,
    },
    expected: {
      q_a_proj: ['attn_q_a.weight'],
      q_proj: ['attn_q_b.weight'],
      kv_a_proj: ['attn_kv_a_mqa.weight'],
      k_proj: ['attn_kv_b.weight rows 0-3, 7-10, ...'],
      v_proj: ['attn_kv_b.weight rows 4-6, 11-13, ...'],
      attn: ['attn_q_b.weight', 'attn_kv_b.weight', 'attn_output.weight', 'attn_q_a.weight', 'attn_kv_a_mqa.weight'],
    },
  },
  {
    title: 'bert',
    architecture: 'bert',
    family: 'bert',
    tensors: { ...separate, ...plain },
    expected: { q_proj: ['attn_q.weight'], fc_in: ['ffn_up.weight'], fc_out: ['ffn_down.weight'] },
  },
];

describe('a GGUF model', () => {
  it.each(cases.map((each) => [each.title, each] as const))(
    '%s',
    (_, { architecture, family, config, tensors, expected }) => {
      const shapes = { 'token_embd.weight': [9, D], ...repeated(3, tensors), 'output.weight': [9, D] };
      const model = new Model(fakeCheckpoint(shapes, { 'general.architecture': architecture, ...heads, ...config }));
      expect(model.family.name).toBe(family);
      expect(model.layers).toBe(3);
      for (const [type, names] of Object.entries(expected)) {
        const found = model.select([1], [type as LayerType]).map(({ tensor, slice }) => {
          const name = tensor.replace('blk.1.', '');
          return slice === undefined ? name : `${name} ${describeSlice(slice)}`;
        });
        expect(found, type).toEqual(names);
      }
      expect(model.roleOf('token_embd.weight')).toBeUndefined();
      expect(model.roleOf('blk.1.attn_q_norm.weight')).toBeUndefined();
      expect(model.roleOf('blk.1.ffn_gate_inp.weight')).toBeUndefined();
    },
  );

  it('of an unknown architecture is named, and accepts a family', () => {
    const shapes = repeated(2, { ...separate, ...gated });
    const checkpoint = fakeCheckpoint(shapes, { 'general.architecture': 'novel', model_type: 'llama' });
    expect(() => requireFamily(checkpoint)).toThrow(
      expect.objectContaining({
        code: 'ERR_UNSUPPORTED',
        message: expect.stringContaining('GGUF architecture "novel"'),
      }),
    );
    expect(new Model(checkpoint, 'llama').select([1], ['fc_in'])[0]!.tensor).toBe('blk.1.ffn_gate.weight');
  });
});
