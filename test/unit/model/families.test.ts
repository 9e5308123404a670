import { describe, expect, it } from 'vitest';
import { FAMILIES } from '../../../lib/model/families/families.js';
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
  {
    title: 'experts beside one that all tokens share',
    config: { model_type: 'qwen2_moe' },
    family: 'llama',
    tensors: {
      'model.layers.#.self_attn.q_proj.weight': square,
      'model.layers.#.mlp.experts.0.gate_proj.weight': [F, D],
      'model.layers.#.mlp.experts.1.gate_proj.weight': [F, D],
      'model.layers.#.mlp.shared_expert.gate_proj.weight': [40, D],
      'model.layers.#.mlp.shared_expert.up_proj.weight': [40, D],
      'model.layers.#.mlp.shared_expert.down_proj.weight': [D, 40],
      'model.layers.#.mlp.shared_expert_gate.weight': [1, D],
    },
    expected: {
      fc_in: ['mlp.experts.0.gate_proj.weight', 'mlp.experts.1.gate_proj.weight'],
      shared_in: ['mlp.shared_expert.gate_proj.weight'],
      shared_up: ['mlp.shared_expert.up_proj.weight'],
      shared_out: ['mlp.shared_expert.down_proj.weight'],
    },
  },
  {
    title: 'DeepSeek, whose attention goes through latent vectors',
    config: {
      model_type: 'deepseek_v3',
      hidden_size: D,
      num_attention_heads: 2,
      qk_nope_head_dim: 6,
      v_head_dim: 4,
      kv_lora_rank: 10,
    },
    family: 'deepseek',
    tensors: {
      'model.layers.#.self_attn.q_a_proj.weight': [12, D],
      'model.layers.#.self_attn.q_b_proj.weight': [16, 12],
      'model.layers.#.self_attn.kv_a_proj_with_mqa.weight': [12, D],
      'model.layers.#.self_attn.kv_b_proj.weight': [20, 10],
      'model.layers.#.self_attn.o_proj.weight': [D, 8],
      'model.layers.#.mlp.gate.weight': [2, D],
      'model.layers.#.mlp.experts.0.down_proj.weight': [D, F],
      'model.layers.#.mlp.shared_experts.down_proj.weight': [D, F],
    },
    expected: {
      q_proj: ['self_attn.q_b_proj.weight'],
      q_a_proj: ['self_attn.q_a_proj.weight'],
      kv_a_proj: ['self_attn.kv_a_proj_with_mqa.weight'],
      k_proj: ['self_attn.kv_b_proj.weight rows 0-5, 10-15'],
      v_proj: ['self_attn.kv_b_proj.weight rows 6-9, 16-19'],
      out_proj: ['self_attn.o_proj.weight'],
      fc_out: ['mlp.experts.0.down_proj.weight'],
      shared_out: ['mlp.shared_experts.down_proj.weight'],
    },
  },
  {
    title: 'gpt-oss, whose experts have gate and up in alternate columns',
    config: { model_type: 'gpt_oss', hidden_size: D },
    family: 'gpt_oss',
    tensors: {
      'model.layers.#.self_attn.q_proj.weight': [2 * D, D],
      'model.layers.#.mlp.router.weight': [3, D],
      'model.layers.#.mlp.experts.gate_up_proj': [3, D, 4],
      'model.layers.#.mlp.experts.gate_up_proj_bias': [3, 4],
      'model.layers.#.mlp.experts.down_proj': [3, 2, D],
    },
    expected: {
      q_proj: ['self_attn.q_proj.weight'],
      fc_in: ['mlp.experts.gate_up_proj columns 0-0, 2-2'],
      fc_up: ['mlp.experts.gate_up_proj columns 1-1, 3-3'],
      fc_out: ['mlp.experts.down_proj'],
    },
  },
  {
    title: 'GPT-Neo',
    config: { model_type: 'gpt_neo' },
    family: 'gpt_neo',
    tensors: {
      'transformer.h.#.attn.attention.q_proj.weight': square,
      'transformer.h.#.attn.attention.out_proj.weight': square,
      'transformer.h.#.mlp.c_fc.weight': [F, D],
      'transformer.h.#.mlp.c_proj.weight': [D, F],
    },
    expected: {
      q_proj: ['attn.attention.q_proj.weight'],
      out_proj: ['attn.attention.out_proj.weight'],
      fc_in: ['mlp.c_fc.weight'],
      fc_out: ['mlp.c_proj.weight'],
    },
  },
  {
    title: 'GPT-BigCode with one head of keys and values',
    config: { model_type: 'gpt_bigcode', multi_query: true, n_head: 4, n_embd: D },
    family: 'gpt_bigcode',
    tensors: {
      'transformer.h.#.attn.c_attn.weight': [D + 8, D],
      'transformer.h.#.attn.c_proj.weight': square,
      'transformer.h.#.mlp.c_fc.weight': [F, D],
      'transformer.h.#.mlp.c_proj.weight': [D, F],
    },
    expected: {
      q_proj: ['attn.c_attn.weight rows 0-15'],
      k_proj: ['attn.c_attn.weight rows 16-19'],
      v_proj: ['attn.c_attn.weight rows 20-23'],
      fc_out: ['mlp.c_proj.weight'],
    },
  },
  {
    title: 'BLOOM',
    config: { model_type: 'bloom', n_head: 2, n_embed: D },
    family: 'bloom',
    tensors: {
      'h.#.self_attention.query_key_value.weight': [3 * D, D],
      'h.#.self_attention.dense.weight': square,
      'h.#.mlp.dense_h_to_4h.weight': [64, D],
      'h.#.mlp.dense_4h_to_h.weight': [D, 64],
    },
    expected: {
      q_proj: ['self_attention.query_key_value.weight rows 0-7, 24-31'],
      v_proj: ['self_attention.query_key_value.weight rows 16-23, 40-47'],
      out_proj: ['self_attention.dense.weight'],
      fc_in: ['mlp.dense_h_to_4h.weight'],
    },
  },
  {
    title: 'Falcon with groups of heads',
    config: {
      model_type: 'falcon',
      new_decoder_architecture: true,
      multi_query: true,
      num_kv_heads: 2,
      ...heads,
    },
    family: 'falcon',
    tensors: {
      'transformer.h.#.self_attention.query_key_value.weight': [32, D],
      'transformer.h.#.self_attention.dense.weight': square,
      'transformer.h.#.mlp.dense_h_to_4h.weight': [64, D],
      'transformer.h.#.mlp.dense_4h_to_h.weight': [D, 64],
    },
    expected: {
      q_proj: ['self_attention.query_key_value.weight rows 0-7, 16-23'],
      k_proj: ['self_attention.query_key_value.weight rows 8-11, 24-27'],
      v_proj: ['self_attention.query_key_value.weight rows 12-15, 28-31'],
      attn: ['self_attention.query_key_value.weight', 'self_attention.dense.weight'],
    },
  },
  {
    title: 'Falcon 7B, whose config states as many heads of keys as of queries',
    config: { model_type: 'falcon', multi_query: true, num_kv_heads: 4, ...heads },
    family: 'falcon',
    tensors: { 'transformer.h.#.self_attention.query_key_value.weight': [D + 8, D] },
    expected: {
      q_proj: ['self_attention.query_key_value.weight rows 0-15'],
      v_proj: ['self_attention.query_key_value.weight rows 20-23'],
    },
  },
  {
    title: 'ALBERT',
    config: { model_type: 'albert' },
    family: 'albert',
    tensors: {
      'albert.encoder.albert_layer_groups.#.albert_layers.0.attention.query.weight': square,
      'albert.encoder.albert_layer_groups.#.albert_layers.0.attention.dense.weight': square,
      'albert.encoder.albert_layer_groups.#.albert_layers.0.ffn.weight': [F, D],
      'albert.encoder.albert_layer_groups.#.albert_layers.0.ffn_output.weight': [D, F],
    },
    expected: {
      q_proj: ['albert_layers.0.attention.query.weight'],
      out_proj: ['albert_layers.0.attention.dense.weight'],
      fc_in: ['albert_layers.0.ffn.weight'],
      fc_out: ['albert_layers.0.ffn_output.weight'],
    },
  },
  {
    title: 'MPNet',
    config: { model_type: 'mpnet' },
    family: 'mpnet',
    tensors: {
      'encoder.layer.#.attention.attn.q.weight': square,
      'encoder.layer.#.attention.attn.o.weight': square,
      'encoder.layer.#.intermediate.dense.weight': [F, D],
      'encoder.layer.#.output.dense.weight': [D, F],
    },
    expected: {
      q_proj: ['attention.attn.q.weight'],
      out_proj: ['attention.attn.o.weight'],
      fc_in: ['intermediate.dense.weight'],
      fc_out: ['output.dense.weight'],
    },
  },
  {
    title: 'DeBERTa v3',
    config: { model_type: 'deberta-v2' },
    family: 'deberta',
    tensors: {
      'deberta.encoder.layer.#.attention.self.query_proj.weight': square,
      'deberta.encoder.layer.#.attention.self.pos_key_proj.weight': square,
      'deberta.encoder.layer.#.attention.output.dense.weight': square,
      'deberta.encoder.layer.#.intermediate.dense.weight': [F, D],
      'deberta.encoder.layer.#.output.dense.weight': [D, F],
    },
    expected: {
      q_proj: ['attention.self.query_proj.weight'],
      out_proj: ['attention.output.dense.weight'],
      fc_out: ['output.dense.weight'],
      attn: ['attention.self.query_proj.weight', 'attention.output.dense.weight'],
    },
  },
  {
    title: 'ModernBERT, whose first half is the gate',
    config: { model_type: 'modernbert', hidden_size: D },
    family: 'modernbert',
    tensors: {
      'model.layers.#.attn.Wqkv.weight': [3 * D, D],
      'model.layers.#.attn.Wo.weight': square,
      'model.layers.#.mlp.Wi.weight': [2 * F, D],
      'model.layers.#.mlp.Wo.weight': [D, F],
    },
    expected: {
      k_proj: ['attn.Wqkv.weight rows 16-31'],
      out_proj: ['attn.Wo.weight'],
      fc_in: ['mlp.Wi.weight rows 0-23'],
      fc_up: ['mlp.Wi.weight rows 24-47'],
      fc_out: ['mlp.Wo.weight'],
    },
  },
  {
    title: 'ViT',
    config: { model_type: 'vit' },
    family: 'vit',
    tensors: {
      'vit.encoder.layer.#.attention.attention.query.weight': square,
      'vit.encoder.layer.#.attention.output.dense.weight': square,
      'vit.encoder.layer.#.intermediate.dense.weight': [F, D],
      'vit.encoder.layer.#.output.dense.weight': [D, F],
    },
    expected: {
      q_proj: ['attention.attention.query.weight'],
      out_proj: ['attention.output.dense.weight'],
      fc_in: ['intermediate.dense.weight'],
      fc_out: ['output.dense.weight'],
    },
  },
];

interface TwoStacks {
  readonly title: string;
  readonly config: Record<string, unknown>;
  readonly family: string;
  readonly first: string;
  readonly second: string;
  /** A matrix of each stack, with its shape. */
  readonly tensors: readonly [firstTensor: string, secondTensor: string];
  readonly shapes?: readonly [first: readonly number[], second: readonly number[]];
  readonly type: LayerType;
}

/** Models of two stacks of layers, two and three of them. */
const TWO_STACKS: readonly TwoStacks[] = [
  {
    title: 'T5',
    config: { model_type: 't5', d_model: D },
    family: 't5',
    first: 'encoder.block.',
    second: 'decoder.block.',
    tensors: ['layer.1.DenseReluDense.wi_0.weight', 'layer.2.DenseReluDense.wi_0.weight'],
    type: 'fc_in',
  },
  {
    title: 'Whisper',
    config: { model_type: 'whisper', d_model: D },
    family: 'bart',
    first: 'model.encoder.layers.',
    second: 'model.decoder.layers.',
    tensors: ['fc1.weight', 'fc1.weight'],
    type: 'fc_in',
  },
  {
    title: 'CLIP, whose towers have hidden sizes of their own',
    config: {
      model_type: 'clip',
      text_config: { model_type: 'clip_text_model', hidden_size: D },
      vision_config: { model_type: 'clip_vision_model', hidden_size: F },
    },
    family: 'clip',
    first: 'text_model.encoder.layers.',
    second: 'vision_model.encoder.layers.',
    tensors: ['mlp.fc1.weight', 'mlp.fc1.weight'],
    shapes: [
      [64, D],
      [96, F],
    ],
    type: 'fc_in',
  },
  {
    title: 'T5 in GGUF',
    config: { 'general.architecture': 't5', hidden_size: D },
    family: 't5',
    first: 'enc.blk.',
    second: 'dec.blk.',
    tensors: ['ffn_up.weight', 'ffn_up.weight'],
    type: 'fc_in',
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

  for (const { title, config, family, first, second, tensors, shapes, type } of TWO_STACKS) {
    it(`numbers the layers of ${title} on from the first stack to the second`, () => {
      const [one, two] = shapes ?? [
        [F, D],
        [F, D],
      ];
      const own = repeated(2, { [`${first}#.${tensors[0]}`]: one });
      const other = repeated(3, { [`${second}#.${tensors[1]}`]: two });
      const names = [...Object.keys(own), ...Object.keys(other)];
      // The order of the file does not matter.
      const model = new Model(fakeCheckpoint({ ...other, ...own }, config));
      expect(model.family.name).toBe(family);
      expect(model.layers).toBe(5);
      expect(model.select('all', [type]).map(({ layer, tensor }) => [layer, tensor])).toEqual([...names.entries()]);
      expect(names.map((name) => model.orientationOf(name))).toEqual(names.map(() => 'out x in'));
      // A checkpoint may hold one of the stacks.
      expect(new Model(fakeCheckpoint(other, config)).select([2], [type])[0]!.tensor).toBe(names.at(-1));
      expect(new Model(fakeCheckpoint(own, config)).layers).toBe(2);
    });
  }

  it('selects the attention of a decoder to its encoder by types of its own', () => {
    const attention = (path: string) =>
      Object.fromEntries(['q', 'k', 'v', 'o'].map((name) => [`decoder.block.0.${path}.${name}.weight`, square]));
    const tensors = { ...attention('layer.0.SelfAttention'), ...attention('layer.1.EncDecAttention') };
    const model = new Model(fakeCheckpoint(tensors, { model_type: 't5', d_model: D }));
    const own = Object.keys(tensors);
    const names = (type: LayerType) => model.select([0], [type]).map(({ tensor }) => tensor);
    expect(names('attn')).toEqual(own.slice(0, 4));
    expect(names('cross_attn')).toEqual(own.slice(4));
    expect(names('cross_v_proj')).toEqual(['decoder.block.0.layer.1.EncDecAttention.v.weight']);
    expect(model.types).toContain('cross_attn');
  });

  it('takes what GGUF calls up for the third matrix only if a T5 has a gate', () => {
    const names = ['ffn_gate', 'ffn_up', 'ffn_down'].map((name) => `enc.blk.0.${name}.weight`);
    const config = { 'general.architecture': 't5', hidden_size: D };
    const roles = (with_: readonly string[]) => {
      const model = new Model(fakeCheckpoint(Object.fromEntries(with_.map((name) => [name, [F, D]])), config));
      return with_.map((name) => model.roleOf(name)?.types);
    };
    expect(roles(names)).toEqual([['fc_in'], ['fc_up'], ['fc_out']]);
    expect(roles(names.slice(1))).toEqual([['fc_in'], ['fc_out']]);
  });

  it('knows the orientation of tensors that differ from those of their family', () => {
    const oss = new Model(
      fakeCheckpoint(
        {
          'model.layers.0.self_attn.q_proj.weight': [32, D],
          'model.layers.0.mlp.experts.gate_up_proj': [3, D, 2 * F],
          'model.layers.0.mlp.experts.down_proj': [3, F, D],
        },
        { model_type: 'gpt_oss', hidden_size: D },
      ),
    );
    expect(oss.orientationOf('model.layers.0.self_attn.q_proj.weight')).toBe('out x in');
    expect(oss.orientationOf('model.layers.0.mlp.experts.gate_up_proj')).toBe('in x out');
    expect(oss.orientationOf('model.layers.0.mlp.experts.down_proj')).toBe('in x out');
    const mla = new Model(
      fakeCheckpoint(
        { 'blk.0.attn_k_b.weight': [2, 10, 6], 'blk.0.attn_v_b.weight': [2, 4, 10] },
        { 'general.architecture': 'deepseek2', hidden_size: D },
      ),
    );
    expect(mla.orientationOf('blk.0.attn_k_b.weight')).toBe('in x out');
    expect(mla.orientationOf('blk.0.attn_v_b.weight')).toBe('out x in');
  });

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
