import { describe, expect, it } from 'vitest';
import type { Orientation, TensorInfo } from '../../../lib/checkpoint/checkpoint.js';
import { Model } from '../../../lib/model/model.js';
import type { DType } from '../../../lib/tensor/dtype.js';
import { failure } from '../../support/failure.js';
import { fakeCheckpoint, repeated } from '../../support/fake-checkpoint.js';

type Shapes = Readonly<Record<string, readonly number[]>>;

const D = 16;
const ATTENTION = 'h.#.attn.c_attn.weight';
const SQUARE = 'h.#.attn.c_proj.weight';
const IN = 'h.#.mlp.c_fc.weight';
const OUT = 'h.#.mlp.c_proj.weight';

/** A layer of GPT-2's names, as Conv1D or as Linear stores it. */
const layer = (orientation: Orientation, inner = 4 * D): Shapes => {
  const stored = (out: number, width: number) => (orientation === 'out x in' ? [out, width] : [width, out]);
  return { [ATTENTION]: stored(3 * D, D), [SQUARE]: [D, D], [IN]: stored(inner, D), [OUT]: stored(D, inner) };
};

const gpt2 = (shapes: Shapes, config: Record<string, unknown> = { n_embd: D }, dtypes?: Record<string, DType>) =>
  new Model(fakeCheckpoint(repeated(2, shapes), { model_type: 'gpt2', ...config }, dtypes));
const stored = (model: Model, ...names: string[]) =>
  names.map((name) => model.roleOf(name.replace('#', '1'))!.orientation);
const only = (shapes: Shapes, ...names: string[]) => Object.fromEntries(names.map((name) => [name, shapes[name]!]));

describe.each(['in x out', 'out x in'] as const)('a model with the names of GPT-2, stored %s', (orientation) => {
  it.each([
    ['by config.json', { n_embd: D }],
    ['by config.json, whatever it calls the width', { hidden_size: D }],
    ['by the shapes alone', {}],
    ['by the shapes, where config.json holds nonsense', { n_embd: -1 }],
  ])('is recognised %s', (_, config) => {
    for (const inner of [4 * D, 3 * D, D + 1]) {
      const model = gpt2(layer(orientation, inner), config);
      expect(stored(model, ATTENTION, SQUARE, IN, OUT)).toEqual(Array(4).fill(orientation));
      expect(model.orientations).toEqual([orientation]);
    }
  });

  it.each([ATTENTION, IN, OUT])('is recognised by %s alone, and its square matrices with it', (name) => {
    const model = gpt2(only(layer(orientation), name, SQUARE));
    expect(stored(model, name, SQUARE)).toEqual([orientation, orientation]);
  });

  it('is recognised without a width of its own by the fused matrix, or by the inner width', () => {
    expect(stored(gpt2(only(layer(orientation), ATTENTION), {}), ATTENTION)).toEqual([orientation]);
    expect(stored(gpt2(only(layer(orientation), IN, OUT), { n_inner: 4 * D }), IN, OUT)).toEqual([
      orientation,
      orientation,
    ]);
  });

  it('is sliced along the axis on which q, k and v lie', () => {
    const axis = orientation === 'out x in' ? 'rows' : 'columns';
    for (const config of [{ n_embd: D }, {}]) {
      const model = gpt2(layer(orientation), config);
      for (const [i, type] of (['q_proj', 'k_proj', 'v_proj'] as const).entries()) {
        expect(model.select([1], [type])[0]!.slice).toEqual({ axis, ranges: [[i * D, (i + 1) * D]] });
      }
    }
  });
});

describe('orientation', () => {
  it("is the family's if there is no evidence", () => {
    expect(stored(gpt2(only(layer('out x in'), SQUARE)), SQUARE)).toEqual(['in x out']);
    // Which of the two is the width, no one says.
    expect(stored(gpt2(only(layer('out x in'), IN, OUT), {}), IN, OUT)).toEqual(['in x out', 'in x out']);
  });

  it('is also found for Linear families in the other orientation', () => {
    const name = 'model.layers.0.mlp.gate_proj.weight';
    const llama = (shape: readonly number[]) =>
      new Model(fakeCheckpoint({ [name]: shape }, { model_type: 'llama', hidden_size: 8 })).roleOf(name)!.orientation;
    expect([llama([24, 8]), llama([8, 24])]).toEqual(['out x in', 'in x out']);
  });

  it('is that of the file format, whatever the shapes are', () => {
    const gguf = fakeCheckpoint(
      { 'blk.0.ffn_up.weight': [8, 32], 'blk.0.attn_qkv.weight': [24, 8] },
      { 'general.architecture': 'gpt2', hidden_size: 8, num_attention_heads: 2 },
    );
    expect(new Model(gguf).orientations).toEqual(['out x in']);
    const plain = fakeCheckpoint({ 'h.0.mlp.c_fc.weight': [32, 8] }, { model_type: 'gpt2', n_embd: 8 });
    const info: TensorInfo = { ...plain.tensors.get('h.0.mlp.c_fc.weight')!, orientation: 'in x out' };
    expect(new Model({ ...plain, tensors: new Map([[info.name, info]]) }).orientations).toEqual(['in x out']);
  });

  it('is not read from batches of experts or from packed numbers', () => {
    const q = 'model.layers.0.self_attn.q_proj.weight';
    const [experts, packed] = ['model.layers.0.mlp.experts.down_proj', 'model.layers.0.self_attn.o_proj.weight'];
    const model = new Model(
      fakeCheckpoint(
        { [q]: [12, 8], [experts]: [3, 24, 8], [packed]: [2, 8] },
        { model_type: 'llama', hidden_size: 8 },
        { [packed]: 'U8' },
      ),
    );
    expect([q, experts, packed].map((name) => model.roleOf(name)!.orientation)).toEqual(Array(3).fill('out x in'));
  });

  it('is refused, naming both sizes, if config.json fits no matrix', () => {
    const model = gpt2(layer('out x in'), { n_embd: 24 });
    expect(stored(model, IN, SQUARE)).toEqual([undefined, undefined]);
    expect(model.orientations).toEqual([]);
    const error = failure(() => model.orientationOf('h.1.mlp.c_fc.weight'));
    expect(error.code).toBe('ERR_SHAPE');
    expect(error.message).toBe('h.1.mlp.c_fc.weight: shape [64, 16] has no side of 24, the n_embd of config.json');
    expect(failure(() => model.select([1], ['q_proj'])).message).toBe(
      'h.1.attn.c_attn.weight: 48 rows of [48, 16], where config.json states n_embd 24',
    );
    // Whole matrices do not depend on it.
    expect(model.select([1], ['fc_in', 'attn'])).toHaveLength(3);
  });

  it("is trusted in a model with both only if it is the family's", () => {
    const mixed = { ...layer('in x out'), [IN]: [4 * D, D] };
    const model = gpt2(mixed);
    expect(stored(model, ATTENTION, OUT)).toEqual(['in x out', 'in x out']);
    for (const name of [IN, SQUARE]) {
      expect(failure(() => model.orientationOf(name.replace('#', '0')))).toMatchObject({
        code: 'ERR_SHAPE',
        message: expect.stringMatching(/^h\.0\..*of shape \[\d+, 16\], in a model that stores some .* others/),
      });
    }
    expect(model.orientationOf('h.0.attn.c_attn.weight')).toBe('in x out');
    expect(model.orientationOf('wte.weight')).toBeUndefined();
  });
});
