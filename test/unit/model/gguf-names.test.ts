import { describe, expect, it } from 'vitest';
import { GgufNames } from '../../../lib/model/gguf-names.js';
import { inverse, pyTorchRows, reordered } from '../../../lib/model/row-order.js';
import { failure } from '../../support/failure.js';

const LLAMA = { model_type: 'llama', num_attention_heads: 4, num_key_value_heads: 2 };

describe('the names of modules in PyTorch and GGUF', () => {
  it.each([
    [LLAMA, 'model.layers.3.self_attn.o_proj', 'blk.3.attn_output'],
    [LLAMA, 'model.layers.3.mlp.gate_proj', 'blk.3.ffn_gate'],
    [LLAMA, 'model.layers.12.mlp.down_proj', 'blk.12.ffn_down'],
    [LLAMA, 'model.embed_tokens', 'token_embd'],
    [LLAMA, 'lm_head', 'output'],
    [{ model_type: 'qwen2' }, 'model.layers.0.self_attn.q_proj', 'blk.0.attn_q'],
    [{ model_type: 'phi3' }, 'model.layers.0.self_attn.qkv_proj', 'blk.0.attn_qkv'],
    [{ model_type: 'phi3' }, 'model.layers.0.mlp.gate_up_proj', 'blk.0.ffn_up'],
    [{ model_type: 'gpt2' }, 'transformer.h.1.attn.c_attn', 'blk.1.attn_qkv'],
    [{ model_type: 'gpt2' }, 'transformer.h.1.attn.c_proj', 'blk.1.attn_output'],
    [{ model_type: 'gpt2' }, 'transformer.wte', 'token_embd'],
    [{ model_type: 'bert' }, 'bert.encoder.layer.0.attention.self.query', 'blk.0.attn_q'],
    [{ model_type: 'bert' }, 'bert.encoder.layer.0.output.dense', 'blk.0.ffn_down'],
    [
      { model_type: 'gemma3', text_config: { model_type: 'gemma3_text' } },
      'model.layers.0.mlp.up_proj',
      'blk.0.ffn_up',
    ],
  ])('%j: %s is %s', (config, pyTorch, gguf) => {
    const names = new GgufNames(config, 'model');
    expect(names.inGguf(pyTorch)).toEqual({ module: gguf, rows: undefined });
    expect(names.inPyTorch(gguf)).toEqual({ module: pyTorch, rows: undefined });
  });

  it('knows which rows the converter reorders, also by the metadata of a GGUF file', () => {
    const gguf = { 'general.architecture': 'llama', num_attention_heads: 4, num_key_value_heads: 2 };
    for (const names of [new GgufNames(LLAMA, 'model'), new GgufNames(gguf, 'model')]) {
      const q = names.inGguf('model.layers.0.self_attn.q_proj');
      expect(q).toEqual({ module: 'blk.0.attn_q', rows: { kind: 'paired', heads: 4 } });
      expect(names.inPyTorch('blk.0.attn_k')).toEqual({
        module: 'model.layers.0.self_attn.k_proj',
        rows: { kind: 'paired', heads: 2 },
      });
      expect(names.inGguf('model.layers.0.self_attn.v_proj')!.rows).toBeUndefined();
    }
    const neox = new GgufNames({ model_type: 'gpt_neox', num_attention_heads: 4 }, 'model');
    expect(neox.inGguf('gpt_neox.layers.0.attention.query_key_value')).toEqual({
      module: 'blk.0.attn_qkv',
      rows: { kind: 'interleaved', heads: 4, queries: 1 },
    });
    const falcon = new GgufNames(
      { model_type: 'falcon', new_decoder_architecture: true, num_attention_heads: 4, num_kv_heads: 2 },
      'model',
    );
    expect(falcon.inGguf('transformer.h.0.self_attention.query_key_value')).toEqual({
      module: 'blk.0.attn_qkv',
      rows: { kind: 'interleaved', heads: 2, queries: 2 },
    });
    expect(falcon.inPyTorch('token_embd')!.module).toBe('transformer.word_embeddings');
  });

  it('prefers the prefix that the model uses', () => {
    const names = new GgufNames({ model_type: 'qwen2' }, 'model');
    const exists = (module: string) => module.startsWith('model.language_model.layers.');
    expect(names.inPyTorch('blk.0.ffn_up', exists)!.module).toBe('model.language_model.layers.0.mlp.up_proj');
  });

  it('has no name for norms, experts and other modules, and refuses unknown models', () => {
    const names = new GgufNames({ ...LLAMA, model_type: 'mixtral' }, 'model');
    for (const module of ['model.layers.0.input_layernorm', 'model.layers.0.block_sparse_moe.experts.1.w1', 'x']) {
      expect(names.inGguf(module)).toBeUndefined();
    }
    for (const module of ['blk.0.attn_norm', 'blk.0.ffn_gate_exps', 'blk.0.ffn_gate.3', 'rope_freqs']) {
      expect(names.inPyTorch(module)).toBeUndefined();
    }
    expect(GgufNames.find({ model_type: 'mamba' })).toBeUndefined();
    expect(failure(() => new GgufNames({ model_type: 'mamba' }, 'folder'))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('folder: its architecture ("mamba")'),
    });
    const nameless = new GgufNames({ model_type: 'llama' }, 'model');
    expect(failure(() => nameless.inGguf('model.layers.0.self_attn.q_proj'))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
    });
  });
});

describe('the order of rows', () => {
  it('pairs the halves of each head', () => {
    // Two heads of width 4: rows 0 1 | 2 3 become 0 2 1 3.
    expect([...pyTorchRows({ kind: 'paired', heads: 2 }, 8, 'w')]).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
  });

  it('puts q, k and v of all heads one after the other', () => {
    expect([...pyTorchRows({ kind: 'interleaved', heads: 2 }, 6, 'w')]).toEqual([0, 3, 1, 4, 2, 5]);
  });

  it('puts q, k and v of groups of heads one after the other', () => {
    // Rows q0 q1 k0 v0, q2 q3 k1 v1.
    const order = pyTorchRows({ kind: 'interleaved', heads: 2, queries: 2 }, 8, 'w');
    expect([...order]).toEqual([0, 1, 4, 5, 2, 6, 3, 7]);
  });

  it('is undone by its inverse, for numbers and for bytes', () => {
    const order = pyTorchRows({ kind: 'paired', heads: 3 }, 24, 'w');
    const rows = Float32Array.from({ length: 48 }, (_, i) => i);
    const there = reordered(rows, order);
    expect([...there.subarray(2, 4)]).toEqual([...rows.subarray(8, 10)]);
    expect(reordered(there, inverse(order))).toEqual(rows);
    const bytes = new Uint8Array(rows.buffer);
    expect(reordered(bytes, order)).toEqual(new Uint8Array(there.buffer));
  });

  it('refuses heads that do not divide the rows', () => {
    expect(failure(() => pyTorchRows({ kind: 'paired', heads: 4 }, 12, 'blk.0.attn_q'))).toMatchObject({
      code: 'ERR_SHAPE',
      message: expect.stringContaining('blk.0.attn_q: 12 rows'),
    });
  });
});
