import { describe, expect, it } from 'vitest';
import { compressibleLayers } from '../../../lib/compress/select.js';
import type { DType } from '../../../lib/tensor/dtype.js';
import { failure } from '../../support/failure.js';
import { fakeCheckpoint, repeated } from '../../support/fake-checkpoint.js';

const LLAMA = { model_type: 'llama', hidden_size: 16, vocab_size: 50, tie_word_embeddings: false };
const llama = {
  'model.embed_tokens.weight': [50, 16],
  ...repeated(2, {
    'model.layers.#.input_layernorm.weight': [16],
    'model.layers.#.self_attn.q_proj.weight': [16, 16],
    'model.layers.#.self_attn.k_proj.weight': [8, 16],
    'model.layers.#.mlp.gate_proj.weight': [40, 16],
    'model.layers.#.mlp.down_proj.weight': [16, 40],
    'model.layers.#.mlp.router.weight': [4, 16],
  }),
  'lm_head.weight': [50, 16],
};

describe('the linear layers of a safetensors checkpoint', () => {
  it('are those that the family names; others are left out, with the reason', () => {
    const { layers, leftOut } = compressibleLayers(fakeCheckpoint(llama, LLAMA));
    expect(layers).toHaveLength(8);
    expect(layers[0]).toMatchObject({
      name: 'model.layers.0.self_attn.q_proj.weight',
      stem: 'model.layers.0.self_attn.q_proj',
      info: { orientation: 'out x in' },
    });
    expect(layers.find(({ name }) => name.endsWith('1.mlp.gate_proj.weight'))).toMatchObject({ m: 40, n: 16 });
    const why = Object.fromEntries(leftOut.map(({ name, why }) => [name, why]));
    expect(why['model.embed_tokens.weight']).toContain('embedding');
    expect(why['lm_head.weight']).toContain('head');
    expect(why['model.layers.1.mlp.router.weight']).toContain('llama family');
    expect(leftOut).toHaveLength(4);
  });

  it('are as wide as they are, where they are stored [in, out]', () => {
    const shapes = repeated(1, {
      'transformer.h.#.attn.c_attn.weight': [16, 48],
      'transformer.h.#.mlp.c_proj.weight': [64, 16],
    });
    const { layers } = compressibleLayers(fakeCheckpoint(shapes, { model_type: 'gpt2' }));
    expect(layers.map(({ m, n, info }) => [m, n, info.orientation])).toEqual([
      [48, 16, 'in x out'],
      [16, 64, 'in x out'],
    ]);
  });

  it('include heads if asked, unless they may be the embedding', () => {
    const heads = (config: Record<string, unknown>, shapes: Record<string, readonly number[]> = llama) =>
      compressibleLayers(fakeCheckpoint(shapes, config), { heads: true })
        .layers.map(({ name }) => name)
        .filter((name) => !name.includes('layers.'));
    expect(heads(LLAMA)).toEqual(['lm_head.weight']);
    expect(heads({ ...LLAMA, tie_word_embeddings: undefined })).toEqual([]);
    expect(heads({ ...LLAMA, tie_word_embeddings: true })).toEqual([]);
    expect(heads({ ...LLAMA, tie_word_embeddings: true }, { ...llama, 'score.weight': [3, 16] })).toEqual([
      'score.weight',
    ]);
  });

  it('leave out experts in one tensor, other types, and shapes that contradict config.json', () => {
    const shapes = {
      'model.layers.0.self_attn.q_proj.weight': [16, 16],
      'model.layers.0.mlp.experts.gate_up_proj': [4, 32, 16],
      'model.layers.0.self_attn.o_proj.weight': [16, 16],
    };
    const types: Record<string, DType> = { 'model.layers.0.self_attn.o_proj.weight': 'F8_E4M3' };
    const { layers, leftOut } = compressibleLayers(fakeCheckpoint(shapes, { model_type: 'mixtral' }, types));
    expect(layers.map(({ name }) => name)).toEqual(['model.layers.0.self_attn.q_proj.weight']);
    expect(leftOut.map(({ why }) => why)).toEqual(['it has 3 dimensions', 'its type is F8_E4M3']);
    const wrong = compressibleLayers(fakeCheckpoint(llama, { ...LLAMA, hidden_size: 99 }));
    expect(wrong.layers).toEqual([]);
    expect(wrong.leftOut.filter(({ why }) => why.includes('contradict'))).toHaveLength(8);
  });

  it('have the names of GGUF too, under which an imatrix has their moments', () => {
    const aliases = (name: string, layers = compressibleLayers(fakeCheckpoint(llama, LLAMA)).layers) =>
      layers.find((layer) => layer.name === name)!.aliases;
    expect(aliases('model.layers.1.self_attn.k_proj.weight')).toContain('blk.1.attn_k.weight');
    expect(aliases('model.layers.0.mlp.gate_proj.weight')).toContain('blk.0.ffn_gate.weight');
    expect(aliases('model.layers.0.mlp.down_proj.weight')).toContain('blk.0.ffn_down.weight');
    const gpt2 = fakeCheckpoint({ 'h.3.attn.c_attn.weight': [16, 48] }, { model_type: 'gpt2' });
    expect(aliases('h.3.attn.c_attn.weight', [...compressibleLayers(gpt2).layers])).toContain('blk.3.attn_qkv.weight');
    const experts = { 'model.layers.0.block_sparse_moe.experts.1.w1.weight': [40, 16] };
    const mixtral = compressibleLayers(fakeCheckpoint(experts, { model_type: 'mixtral' }));
    expect(mixtral.layers[0]!.aliases).toEqual([]);
  });

  it('are unknown without a family', () => {
    for (const config of [undefined, { model_type: 'none-such' }]) {
      expect(failure(() => compressibleLayers(fakeCheckpoint(llama, config)))).toMatchObject({
        code: 'ERR_UNSUPPORTED',
        hint: expect.stringContaining('llama'),
      });
    }
  });
});
