import { describe, expect, it } from 'vitest';
import { Model } from '../../../lib/model/model.js';
import { failure } from '../../support/failure.js';
import { fakeCheckpoint, repeated } from '../../support/fake-checkpoint.js';

const gptj = () =>
  new Model(
    fakeCheckpoint(
      repeated(28, { 'transformer.h.#.mlp.fc_in.weight': [8, 4], 'transformer.h.#.attn.q_proj.weight': [4, 4] }),
      { model_type: 'gptj' },
    ),
  );

describe('Model', () => {
  it('numbers the layers as numbers, not as text', () => {
    const model = gptj();
    expect(model.layers).toBe(28);
    expect(model.select('all', ['fc_in']).map(({ layer }) => layer)).toEqual(Array.from({ length: 28 }, (_, i) => i));
    expect(model.select([2], ['fc_in']).map(({ tensor }) => tensor)).toEqual(['transformer.h.2.mlp.fc_in.weight']);
  });

  it('lists the types that there are', () => {
    expect(gptj().types).toEqual(['q_proj', 'fc_in', 'attn', 'mlp', 'all']);
  });

  it('selects nothing for dont', () => {
    expect(gptj().select([3], ['dont'])).toEqual([]);
  });

  it('names the existing layers', () => {
    for (const layer of [28, -29, 1.5]) {
      const error = failure(() => gptj().select([layer], ['fc_in']));
      expect(error.code).toBe('ERR_NOT_FOUND');
      expect(error.message).toContain('layers 0 to 27');
    }
  });

  it('names the existing types', () => {
    for (const layers of ['all', [3]] as const) {
      const error = failure(() => gptj().select(layers, ['fc_up']));
      expect(error.code).toBe('ERR_NOT_FOUND');
      expect(error.message).toContain('q_proj, fc_in, attn, mlp, all');
    }
  });

  it('does not take a layer that lacks the type for one that has it', () => {
    const model = new Model(
      fakeCheckpoint(
        {
          'model.layers.0.mlp.gate_proj.weight': [8, 4],
          'model.layers.1.mlp.experts.0.gate_proj.weight': [8, 4],
          'model.layers.1.mlp.down_proj.weight': [4, 8],
        },
        { model_type: 'qwen2_moe' },
      ),
    );
    expect(model.select('all', ['fc_out']).map(({ layer }) => layer)).toEqual([1]);
    expect(failure(() => model.select([0], ['fc_out'])).message).toBe(
      'layer 0: no fc_out; this layer has fc_in, mlp, all',
    );
  });

  it('is not misled by towers and encoders of another sort', () => {
    const model = new Model(
      fakeCheckpoint(
        {
          'vision_tower.model.layers.0.self_attn.q_proj.weight': [4, 4],
          'vision_model.encoder.layers.7.mlp.gate_proj.weight': [4, 4],
          'model.layers.0.self_attn.q_proj.weight': [4, 4],
          'model.layers.0.self_attn.q_proj.weight.extra': [4, 4],
          'model.layers.x.self_attn.q_proj.weight': [4, 4],
          'model.layers.0.self_attnXq_proj.weight': [4, 4],
        },
        { model_type: 'llama' },
      ),
    );
    expect(model.layers).toBe(1);
    expect(model.select('all', ['all']).map(({ tensor }) => tensor)).toEqual([
      'model.layers.0.self_attn.q_proj.weight',
    ]);
  });

  it('names the tensors that it looked for', () => {
    const error = failure(() => new Model(fakeCheckpoint({ 'blocks.0.w': [4, 4] }), 'gpt2'));
    expect(error.code).toBe('ERR_NOT_FOUND');
    expect(error.message).toContain('transformer.h.0.attn.c_attn.weight');
  });

  it('returns the layer and types of a tensor', () => {
    const model = new Model(
      fakeCheckpoint(repeated(2, { 'h.#.attn.c_attn.weight': [4, 12], 'h.#.ln_1.weight': [4] }), {
        model_type: 'gpt2',
      }),
    );
    expect(model.roleOf('h.1.attn.c_attn.weight')).toEqual({
      layer: 1,
      types: ['q_proj', 'k_proj', 'v_proj'],
      orientation: 'in x out',
    });
    expect(model.roleOf('h.1.ln_1.weight')).toBeUndefined();
  });
});

describe('fused tensors', () => {
  const phi3 = (config: Record<string, unknown>, rows: number) =>
    new Model(fakeCheckpoint({ 'model.layers.0.self_attn.qkv_proj.weight': [rows, 16] }, config), 'phi3');

  it('are not divided without the numbers of heads', () => {
    const error = failure(() => phi3({}, 48).select([0], ['q_proj']));
    expect(error.code).toBe('ERR_UNSUPPORTED');
    expect(error.message).toContain('model.layers.0.self_attn.qkv_proj.weight');
    // Whole, they need none.
    expect(phi3({}, 48).select([0], ['attn'])).toHaveLength(1);
  });

  it('are not divided against config.json', () => {
    const config = { num_attention_heads: 4, num_key_value_heads: 2, hidden_size: 16 };
    expect(failure(() => phi3(config, 48).select([0], ['k_proj'])).message).toContain(
      '48 rows are not 4 + 2 x 2 heads of 4',
    );
    expect(failure(() => phi3({ ...config, num_attention_heads: -4 }, 32).select([0], ['k_proj'])).code).toBe(
      'ERR_CHECKPOINT_FORMAT',
    );
    const neox = new Model(
      fakeCheckpoint(
        { 'layers.0.attention.query_key_value.weight': [48, 16] },
        { num_attention_heads: 5, hidden_size: 16 },
      ),
      'gpt_neox',
    );
    expect(failure(() => neox.select([0], ['q_proj'])).code).toBe('ERR_SHAPE');
    const gpt2 = new Model(fakeCheckpoint({ 'h.0.attn.c_attn.weight': [16, 47] }), 'gpt2');
    expect(failure(() => gpt2.select([0], ['v_proj'])).code).toBe('ERR_SHAPE');
    const flat = new Model(fakeCheckpoint({ 'h.0.attn.c_attn.weight': [48] }), 'gpt2');
    expect(failure(() => flat.select([0], ['v_proj'])).code).toBe('ERR_SHAPE');
  });

  it('are not divided if the parts are not equal, or for experts of the other orientation', () => {
    // GPT-BigCode calls its tensor as GPT-2 does, but has fewer heads for k and v; GPT-OSS has
    // [experts, in, out], interleaved.
    const bigCode = { 'transformer.h.0.attn.c_attn.weight': [36, 24] };
    const experts = { 'model.layers.0.mlp.experts.gate_up_proj': [3, 8, 12] };
    for (const select of [
      () => new Model(fakeCheckpoint(bigCode, { n_embd: 24 }), 'gpt2').select([0], ['q_proj']),
      () => new Model(fakeCheckpoint(bigCode), 'gpt2').select([0], ['q_proj']),
      () =>
        new Model(
          fakeCheckpoint({ ...bigCode, 'transformer.h.0.mlp.c_fc.weight': [96, 24] }, { n_embd: 24 }),
          'gpt2',
        ).select([0], ['q_proj']),
      () => new Model(fakeCheckpoint(experts, { hidden_size: 8 }), 'llama').select([0], ['fc_in']),
    ]) {
      expect(failure(select).code).toBe('ERR_SHAPE');
    }
    const whole = new Model(fakeCheckpoint(bigCode, { n_embd: 24 }), 'gpt2').select([0], ['attn']);
    expect(whole).toMatchObject([{ slice: undefined }]);
  });

  it('take head_dim before hidden_size / heads', () => {
    const config = { num_attention_heads: 4, num_key_value_heads: 1, hidden_size: 16, head_dim: 8 };
    expect(phi3(config, 48).select([0], ['v_proj'])[0]!.slice).toEqual({ axis: 'rows', ranges: [[40, 48]] });
  });
});
