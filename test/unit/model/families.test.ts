import { describe, expect, it } from 'vitest';
import { FAMILIES } from '../../../lib/model/families.js';
import { Model } from '../../../lib/model/model.js';
import { recognise, requireFamily } from '../../../lib/model/recognise.js';
import type { LayerType } from '../../../lib/model/types.js';
import { describeSlice } from '../../../lib/tensor/slice.js';
import { fakeCheckpoint, repeated } from '../../support/fake-checkpoint.js';

interface Case {
  readonly title: string;
  readonly config: Record<string, unknown>;
  readonly family: string;
  /** One layer's tensors as the transformers library names them, `#` for the layer's number. */
  readonly tensors: Readonly<Record<string, readonly number[]>>;
  /**
   * For layer 1: a tensor's name without what stands before the layer, then the slice, if it is
   * one.
   */
  readonly expected: Partial<Record<LayerType, readonly string[]>>;
}

const D = 16;
const F = 24;
const square = [D, D] as const;
const llamaLayer = (prefix: string) => ({
  [`${prefix}#.input_layernorm.weight`]: [D],
  [`${prefix}#.self_attn.q_proj.weight`]: square,
  [`${prefix}#.self_attn.k_proj.weight`]: [8, D],
  [`${prefix}#.self_attn.v_proj.weight`]: [8, D],
  [`${prefix}#.self_attn.o_proj.weight`]: square,
  [`${prefix}#.mlp.gate_proj.weight`]: [F, D],
  [`${prefix}#.mlp.up_proj.weight`]: [F, D],
  [`${prefix}#.mlp.down_proj.weight`]: [D, F],
});
const llamaExpected = {
  q_proj: ['self_attn.q_proj.weight'],
  k_proj: ['self_attn.k_proj.weight'],
  v_proj: ['self_attn.v_proj.weight'],
  out_proj: ['self_attn.o_proj.weight'],
  fc_in: ['mlp.gate_proj.weight'],
  fc_up: ['mlp.up_proj.weight'],
  fc_out: ['mlp.down_proj.weight'],
  mlp: ['mlp.gate_proj.weight', 'mlp.up_proj.weight', 'mlp.down_proj.weight'],
};
const gpt2Layer = (prefix: string) => ({
  [`${prefix}#.ln_1.weight`]: [D],
  [`${prefix}#.attn.c_attn.weight`]: [D, 3 * D],
  [`${prefix}#.attn.c_proj.weight`]: square,
  [`${prefix}#.crossattention.c_attn.weight`]: [D, 2 * D],
  [`${prefix}#.mlp.c_fc.weight`]: [D, 4 * D],
  [`${prefix}#.mlp.c_proj.weight`]: [4 * D, D],
});
const gpt2Expected = {
  q_proj: ['attn.c_attn.weight columns 0-15'],
  k_proj: ['attn.c_attn.weight columns 16-31'],
  v_proj: ['attn.c_attn.weight columns 32-47'],
  out_proj: ['attn.c_proj.weight'],
  fc_in: ['mlp.c_fc.weight'],
  fc_out: ['mlp.c_proj.weight'],
  attn: ['attn.c_attn.weight', 'attn.c_proj.weight'],
  mlp: ['mlp.c_fc.weight', 'mlp.c_proj.weight'],
  all: ['attn.c_attn.weight', 'attn.c_proj.weight', 'mlp.c_fc.weight', 'mlp.c_proj.weight'],
};
const bertLayer = (prefix: string) => ({
  [`${prefix}#.attention.self.query.weight`]: square,
  [`${prefix}#.attention.self.key.weight`]: square,
  [`${prefix}#.attention.self.value.weight`]: square,
  [`${prefix}#.attention.output.dense.weight`]: square,
  [`${prefix}#.crossattention.self.query.weight`]: square,
  [`${prefix}#.intermediate.dense.weight`]: [F, D],
  [`${prefix}#.output.dense.weight`]: [D, F],
});
const bertExpected = {
  q_proj: ['attention.self.query.weight'],
  k_proj: ['attention.self.key.weight'],
  v_proj: ['attention.self.value.weight'],
  out_proj: ['attention.output.dense.weight'],
  fc_in: ['intermediate.dense.weight'],
  fc_out: ['output.dense.weight'],
  mlp: ['intermediate.dense.weight', 'output.dense.weight'],
};
const heads = { num_attention_heads: 4, hidden_size: D };

const CASES: readonly Case[] = [
  {
    title: 'GPT-J',
    config: { model_type: 'gptj', architectures: ['GPTJForCausalLM'] },
    family: 'gptj',
    tensors: {
      'transformer.h.#.attn.q_proj.weight': square,
      'transformer.h.#.attn.k_proj.weight': square,
      'transformer.h.#.attn.v_proj.weight': square,
      'transformer.h.#.attn.out_proj.weight': square,
      'transformer.h.#.mlp.fc_in.weight': [64, D],
      'transformer.h.#.mlp.fc_in.bias': [64],
      'transformer.h.#.mlp.fc_out.weight': [D, 64],
    },
    expected: {
      q_proj: ['attn.q_proj.weight'],
      k_proj: ['attn.k_proj.weight'],
      v_proj: ['attn.v_proj.weight'],
      out_proj: ['attn.out_proj.weight'],
      fc_in: ['mlp.fc_in.weight'],
      fc_out: ['mlp.fc_out.weight'],
      mlp: ['mlp.fc_in.weight', 'mlp.fc_out.weight'],
      attn: ['attn.q_proj.weight', 'attn.k_proj.weight', 'attn.v_proj.weight', 'attn.out_proj.weight'],
    },
  },
  {
    title: 'Llama',
    config: { model_type: 'llama', architectures: ['LlamaForCausalLM'] },
    family: 'llama',
    tensors: llamaLayer('model.layers.'),
    expected: llamaExpected,
  },
  {
    title: 'a bare LlamaModel',
    config: { architectures: ['LlamaModel'] },
    family: 'llama',
    tensors: llamaLayer('layers.'),
    expected: llamaExpected,
  },
  {
    title: 'Gemma 3 beside a vision tower',
    config: { model_type: 'gemma3', text_config: { model_type: 'gemma3_text', ...heads } },
    family: 'llama',
    tensors: {
      'model.vision_tower.encoder.layers.#.self_attn.q_proj.weight': square,
      'model.vision_tower.encoder.layers.#.mlp.fc1.weight': square,
      ...llamaLayer('model.language_model.layers.'),
    },
    expected: llamaExpected,
  },
  {
    title: 'experts stored one by one',
    config: { model_type: 'mixtral' },
    family: 'llama',
    tensors: {
      'model.layers.#.self_attn.q_proj.weight': square,
      'model.layers.#.block_sparse_moe.gate.weight': [2, D],
      'model.layers.#.block_sparse_moe.experts.0.w1.weight': [F, D],
      'model.layers.#.block_sparse_moe.experts.0.w2.weight': [D, F],
      'model.layers.#.block_sparse_moe.experts.0.w3.weight': [F, D],
      'model.layers.#.block_sparse_moe.experts.1.w1.weight': [F, D],
      'model.layers.#.block_sparse_moe.experts.1.w2.weight': [D, F],
      'model.layers.#.block_sparse_moe.experts.1.w3.weight': [F, D],
    },
    expected: {
      fc_in: ['block_sparse_moe.experts.0.w1.weight', 'block_sparse_moe.experts.1.w1.weight'],
      fc_up: ['block_sparse_moe.experts.0.w3.weight', 'block_sparse_moe.experts.1.w3.weight'],
      fc_out: ['block_sparse_moe.experts.0.w2.weight', 'block_sparse_moe.experts.1.w2.weight'],
    },
  },
  {
    title: 'experts stored in one tensor',
    config: { model_type: 'qwen3_moe' },
    family: 'llama',
    tensors: {
      'model.layers.#.self_attn.q_proj.weight': square,
      'model.layers.#.mlp.gate.weight': [2, D],
      'model.layers.#.mlp.experts.gate_up_proj': [2, 2 * F, D],
      'model.layers.#.mlp.experts.down_proj': [2, D, F],
    },
    expected: {
      fc_in: ['mlp.experts.gate_up_proj rows 0-23'],
      fc_up: ['mlp.experts.gate_up_proj rows 24-47'],
      fc_out: ['mlp.experts.down_proj'],
      mlp: ['mlp.experts.gate_up_proj', 'mlp.experts.down_proj'],
    },
  },
  {
    title: 'Phi in transformers',
    config: { model_type: 'phi', architectures: ['PhiForCausalLM'] },
    family: 'phi',
    tensors: {
      'model.layers.#.self_attn.q_proj.weight': square,
      'model.layers.#.self_attn.k_proj.weight': square,
      'model.layers.#.self_attn.v_proj.weight': square,
      'model.layers.#.self_attn.dense.weight': square,
      'model.layers.#.mlp.fc1.weight': [F, D],
      'model.layers.#.mlp.fc2.weight': [D, F],
    },
    expected: {
      q_proj: ['self_attn.q_proj.weight'],
      out_proj: ['self_attn.dense.weight'],
      fc_in: ['mlp.fc1.weight'],
      fc_out: ['mlp.fc2.weight'],
    },
  },
  {
    title: 'Phi with its first code',
    config: { model_type: 'phi-msft', architectures: ['PhiForCausalLM'], n_head: 4, n_head_kv: null, n_embd: D },
    family: 'phi',
    tensors: {
      'transformer.h.#.mixer.Wqkv.weight': [3 * D, D],
      'transformer.h.#.mixer.out_proj.weight': square,
      'transformer.h.#.mlp.fc1.weight': [F, D],
      'transformer.h.#.mlp.fc2.weight': [D, F],
    },
    expected: {
      q_proj: ['mixer.Wqkv.weight rows 0-15'],
      k_proj: ['mixer.Wqkv.weight rows 16-31'],
      v_proj: ['mixer.Wqkv.weight rows 32-47'],
      out_proj: ['mixer.out_proj.weight'],
      attn: ['mixer.Wqkv.weight', 'mixer.out_proj.weight'],
      mlp: ['mlp.fc1.weight', 'mlp.fc2.weight'],
    },
  },
  {
    title: 'Phi-3 with fewer key and value heads',
    config: { model_type: 'phi3', num_key_value_heads: 2, ...heads },
    family: 'phi3',
    tensors: {
      'model.layers.#.self_attn.qkv_proj.weight': [32, D],
      'model.layers.#.self_attn.o_proj.weight': square,
      'model.layers.#.mlp.gate_up_proj.weight': [2 * F, D],
      'model.layers.#.mlp.down_proj.weight': [D, F],
    },
    expected: {
      q_proj: ['self_attn.qkv_proj.weight rows 0-15'],
      k_proj: ['self_attn.qkv_proj.weight rows 16-23'],
      v_proj: ['self_attn.qkv_proj.weight rows 24-31'],
      fc_in: ['mlp.gate_up_proj.weight rows 0-23'],
      fc_up: ['mlp.gate_up_proj.weight rows 24-47'],
      fc_out: ['mlp.down_proj.weight'],
      mlp: ['mlp.gate_up_proj.weight', 'mlp.down_proj.weight'],
    },
  },
  {
    title: 'RoBERTa',
    config: { model_type: 'roberta', architectures: ['RobertaForMaskedLM'] },
    family: 'bert',
    tensors: bertLayer('roberta.encoder.layer.'),
    expected: bertExpected,
  },
  {
    title: 'a bare BertModel',
    config: { model_type: 'bert', architectures: ['BertModel'] },
    family: 'bert',
    tensors: bertLayer('encoder.layer.'),
    expected: bertExpected,
  },
  {
    title: 'DistilBERT',
    config: { architectures: ['DistilBertForMaskedLM'] },
    family: 'distilbert',
    tensors: {
      'distilbert.transformer.layer.#.attention.q_lin.weight': square,
      'distilbert.transformer.layer.#.attention.k_lin.weight': square,
      'distilbert.transformer.layer.#.attention.v_lin.weight': square,
      'distilbert.transformer.layer.#.attention.out_lin.weight': square,
      'distilbert.transformer.layer.#.ffn.lin1.weight': [F, D],
      'distilbert.transformer.layer.#.ffn.lin2.weight': [D, F],
    },
    expected: {
      q_proj: ['attention.q_lin.weight'],
      out_proj: ['attention.out_lin.weight'],
      fc_in: ['ffn.lin1.weight'],
      fc_out: ['ffn.lin2.weight'],
    },
  },
  {
    title: 'GPT-2',
    config: { model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] },
    family: 'gpt2',
    tensors: gpt2Layer('transformer.h.'),
    expected: gpt2Expected,
  },
  {
    title: 'a bare GPT2Model',
    config: { architectures: ['GPT2Model'] },
    family: 'gpt2',
    tensors: gpt2Layer('h.'),
    expected: gpt2Expected,
  },
  {
    title: 'Decision Transformer',
    config: { model_type: 'decision_transformer' },
    family: 'decision_transformer',
    tensors: gpt2Layer('encoder.h.'),
    expected: gpt2Expected,
  },
  {
    title: 'GPT-NeoX',
    config: { model_type: 'gpt_neox', num_attention_heads: 2, hidden_size: D },
    family: 'gpt_neox',
    tensors: {
      'gpt_neox.layers.#.attention.query_key_value.weight': [3 * D, D],
      'gpt_neox.layers.#.attention.dense.weight': square,
      'gpt_neox.layers.#.mlp.dense_h_to_4h.weight': [F, D],
      'gpt_neox.layers.#.mlp.dense_4h_to_h.weight': [D, F],
    },
    expected: {
      q_proj: ['attention.query_key_value.weight rows 0-7, 24-31'],
      k_proj: ['attention.query_key_value.weight rows 8-15, 32-39'],
      v_proj: ['attention.query_key_value.weight rows 16-23, 40-47'],
      attn: ['attention.query_key_value.weight', 'attention.dense.weight'],
      fc_in: ['mlp.dense_h_to_4h.weight'],
      fc_out: ['mlp.dense_4h_to_h.weight'],
    },
  },
  {
    title: 'OPT',
    config: { architectures: ['OPTForCausalLM'] },
    family: 'opt',
    tensors: {
      'model.decoder.layers.#.self_attn.k_proj.weight': square,
      'model.decoder.layers.#.self_attn.q_proj.weight': square,
      'model.decoder.layers.#.self_attn.v_proj.weight': square,
      'model.decoder.layers.#.self_attn.out_proj.weight': square,
      'model.decoder.layers.#.fc1.weight': [F, D],
      'model.decoder.layers.#.fc2.weight': [D, F],
    },
    expected: {
      k_proj: ['self_attn.k_proj.weight'],
      out_proj: ['self_attn.out_proj.weight'],
      fc_in: ['fc1.weight'],
      fc_out: ['fc2.weight'],
    },
  },
];

describe('families', () => {
  for (const { title, config, family, tensors, expected } of CASES) {
    it(`knows ${title}`, () => {
      const model = new Model(fakeCheckpoint(repeated(3, tensors), config));
      expect(model.family.name).toBe(family);
      expect(model.layers).toBe(3);
      for (const [type, names] of Object.entries(expected)) {
        const found = model.select([1], [type as LayerType]);
        expect(found.map(({ layer }) => layer)).toEqual(names.map(() => 1));
        const shown = found.map(({ tensor, slice }) => {
          const short = tensor.slice(tensor.indexOf('.1.') + 3);
          return slice === undefined ? short : `${short} ${describeSlice(slice)}`;
        });
        expect([type, shown]).toEqual([type, names]);
      }
    });
  }

  it('takes each stored tensor once for a group', () => {
    for (const { config, tensors } of CASES) {
      const found = new Model(fakeCheckpoint(repeated(2, tensors), config)).select('all', ['all']);
      const names = found.map(({ tensor }) => tensor);
      expect(new Set(names).size).toBe(names.length);
      expect(found.every(({ slice }) => slice === undefined)).toBe(true);
    }
  });

  it('has names, model types and architectures that belong to one family each', () => {
    for (const list of [
      FAMILIES.map(({ name }) => name),
      FAMILIES.flatMap(({ modelTypes }) => modelTypes),
      FAMILIES.flatMap(({ architectures }) => architectures),
    ]) {
      expect(new Set(list).size).toBe(list.length);
    }
  });
});

describe('recognise', () => {
  it('goes by model_type, then by architectures', () => {
    expect(recognise({ model_type: 'gpt2', architectures: ['LlamaForCausalLM'] })?.family.name).toBe('gpt2');
    expect(recognise({ model_type: 'of_my_own', architectures: ['LlamaForCausalLM'] })?.family.name).toBe('llama');
    expect(recognise({ architectures: ['GPT2LMHeadModel'] })?.family.name).toBe('gpt2');
    expect(recognise({ architectures: ['GPT2DoubleHeadsModel'] })?.family.name).toBe('gpt2');
    expect(recognise({ architectures: [7, null] })).toBeUndefined();
    expect(recognise({})).toBeUndefined();
    expect(recognise(undefined)).toBeUndefined();
  });

  it('does not confuse names with a common start', () => {
    expect(recognise({ architectures: ['Phi3ForCausalLM'] })?.family.name).toBe('phi3');
    expect(recognise({ architectures: ['PhiForCausalLM'] })?.family.name).toBe('phi');
    expect(recognise({ architectures: ['GPTJForCausalLM'] })?.family.name).toBe('gptj');
  });

  it("shows config.json's entries when no family fits", () => {
    const checkpoint = fakeCheckpoint({}, { model_type: 'mamba', architectures: ['MambaForCausalLM'] });
    expect(() => requireFamily(checkpoint)).toThrow(/model_type "mamba" or architectures \["MambaForCausalLM"\]/);
    expect(() => requireFamily(fakeCheckpoint({}))).toThrow(/no config.json/);
    expect(() => requireFamily(checkpoint, 'mamba')).toThrow(/family: expected one of gptj, llama/);
  });
});
