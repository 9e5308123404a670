import { describe, expect, it } from 'vitest';
import type { Orientation, TensorInfo } from '../../../lib/checkpoint/checkpoint.js';
import { LowRankError } from '../../../lib/errors.js';
import { Model } from '../../../lib/model/model.js';
import { tensorsNamed } from '../../../lib/model/names.js';
import { fakeCheckpoint } from '../../support/fake-checkpoint.js';

type Weight = readonly [name: string, alias: string | undefined, shape: readonly number[], orientation?: Orientation];

/** A checkpoint as a graph shows it. */
function exported(config: Record<string, unknown> | undefined, ...weights: readonly Weight[]) {
  const plain = fakeCheckpoint(Object.fromEntries(weights.map(([name, , shape]) => [name, shape])), config);
  const tensors = new Map<string, TensorInfo>();
  for (const [name, alias, , orientation] of weights) {
    tensors.set(name, { ...plain.tensors.get(name)!, ...(alias && { alias }), ...(orientation && { orientation }) });
  }
  return { ...plain, format: 'onnx' as const, tensors };
}

const llama = { model_type: 'llama', num_attention_heads: 4, num_key_value_heads: 2, hidden_size: 32 };

describe('a model known by its graph', () => {
  it('finds its matrices by the names of its modules', () => {
    const model = new Model(
      exported(
        llama,
        ['model.embed_tokens.weight', undefined, [64, 32]],
        ['onnx::MatMul_1', 'model.layers.0.self_attn.q_proj.weight', [32, 32], 'in x out'],
        ['onnx::MatMul_2', 'model.layers.0.mlp.gate_proj.weight', [32, 48], 'in x out'],
        ['onnx::MatMul_3', 'model.layers.1.mlp.down_proj.weight', [48, 32], 'in x out'],
      ),
    );
    expect(model.layers).toBe(2);
    expect(model.select([0], ['fc_in'])).toEqual([
      { tensor: 'onnx::MatMul_2', layer: 0, type: 'fc_in', slice: undefined },
    ]);
    expect(model.select([1], ['mlp']).map(({ tensor }) => tensor)).toEqual(['onnx::MatMul_3']);
    expect(model.roleOf('onnx::MatMul_1')).toEqual({ layer: 0, types: ['q_proj'], orientation: 'in x out' });
  });

  it('slices GPT-2 as it lies: its own way, or turned', () => {
    const name = 'transformer.h.0.attn.c_attn.weight';
    const slice = (shape: readonly number[], orientation?: Orientation) =>
      new Model(exported({ model_type: 'gpt2' }, [name, undefined, shape, orientation])).select([0], ['k_proj'])[0]!
        .slice;
    expect(slice([32, 96], 'in x out')).toEqual({ axis: 'columns', ranges: [[32, 64]] });
    expect(slice([96, 32], 'out x in')).toEqual({ axis: 'rows', ranges: [[32, 64]] });
    expect(slice([32, 96])).toEqual({ axis: 'columns', ranges: [[32, 64]] });
  });

  it('slices a fused linear layer as it lies', () => {
    const phi3 = { ...llama, model_type: 'phi3' };
    const alias = 'model.layers.0.self_attn.qkv_proj.weight';
    const turned = new Model(exported(phi3, ['onnx::MatMul_1', alias, [32, 64], 'in x out']));
    expect(turned.select([0], ['v_proj'])[0]!.slice).toEqual({ axis: 'columns', ranges: [[48, 64]] });
    const kept = new Model(exported(phi3, ['onnx::MatMul_1', alias, [64, 32], 'out x in']));
    expect(kept.select([0], ['v_proj'])[0]!.slice).toEqual({ axis: 'rows', ranges: [[48, 64]] });
    const gates = 'model.layers.0.mlp.gate_up_proj.weight';
    const mlp = new Model(exported(phi3, ['onnx::MatMul_2', gates, [32, 96], 'in x out']));
    expect(mlp.select([0], ['fc_up'])[0]!.slice).toEqual({ axis: 'columns', ranges: [[48, 96]] });
  });

  it('slices interleaved heads as they lie', () => {
    const neox = { model_type: 'gpt_neox', num_attention_heads: 2, hidden_size: 4 };
    const alias = 'gpt_neox.layers.0.attention.query_key_value.weight';
    const model = new Model(exported(neox, ['onnx::MatMul_1', alias, [4, 12], 'in x out']));
    expect(model.select([0], ['k_proj'])[0]!.slice).toEqual({
      axis: 'columns',
      ranges: [
        [2, 4],
        [8, 10],
      ],
    });
  });

  it('knows the names of onnxruntime-genai', () => {
    const model = new Model(
      exported(
        llama,
        ['model.layers.0.attn.qkv_proj.MatMul.weight', 'model.layers.0.attn.qkv_proj.weight', [32, 64], 'in x out'],
        ['model.layers.0.attn.o_proj.MatMul.weight', 'model.layers.0.attn.o_proj.weight', [32, 32], 'in x out'],
        ['model.layers.0.mlp.up_proj.MatMul.weight', 'model.layers.0.mlp.up_proj.weight', [32, 48], 'in x out'],
      ),
    );
    expect(model.types).toEqual(['q_proj', 'k_proj', 'v_proj', 'out_proj', 'fc_up', 'attn', 'mlp', 'all']);
    expect(model.select([0], ['k_proj'])[0]!.slice).toEqual({ axis: 'columns', ranges: [[32, 48]] });
  });

  it('is found inside modules that were put around it', () => {
    const wrapped = (prefix: string): Weight => ['w', `${prefix}model.layers.0.mlp.up_proj.weight`, [4, 4], 'in x out'];
    for (const prefix of ['', 'wrapper.', 'wrapper.inner.']) {
      expect(new Model(exported(llama, wrapped(prefix))).select([0], ['fc_up'])[0]!.tensor).toBe('w');
    }
    expect(() => new Model(exported(llama, wrapped('a.b.c.')))).toThrow(LowRankError);
    // Files without a graph hold a model alone: what has other names is another model.
    expect(() => new Model(exported(llama, ['wrapper.model.layers.0.mlp.up_proj.weight', undefined, [4, 4]]))).toThrow(
      LowRankError,
    );
  });

  it('has tensors that a glob finds by either name', () => {
    const checkpoint = exported(
      undefined,
      ['onnx::MatMul_1', 'model.layers.0.mlp.up_proj.weight', [4, 4]],
      ['b', undefined, [4]],
    );
    const found = (glob: string) => tensorsNamed(checkpoint, glob).map(({ name }) => name);
    expect(found('onnx::*')).toEqual(['onnx::MatMul_1']);
    expect(found('*.up_proj.weight')).toEqual(['onnx::MatMul_1']);
    expect(found('model.layers.0.mlp.up_proj.weight')).toEqual(['onnx::MatMul_1']);
    expect(found('*')).toEqual(['onnx::MatMul_1', 'b']);
    expect(() => found('c')).toThrow(LowRankError);
  });
});
