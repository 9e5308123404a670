import { describe, expect, it } from 'vitest';
import { type InspectedTensor, summarise } from '../../lib/inspect/summary.js';
import { formatRanges } from '../../lib/text/ranges.js';

function info(name: string, shape: readonly number[], more: Partial<InspectedTensor> = {}): InspectedTensor {
  const parameters = shape.reduce((product, d) => product * d, 1);
  const place = { file: 'model.safetensors', offset: 0 };
  return {
    name,
    ...place,
    shape,
    dtype: 'BF16',
    bytes: 2 * parameters,
    parameters,
    layer: undefined,
    types: [],
    ...more,
  };
}

/** The tensors of Mistral 7B. */
const mistral = [
  info('model.embed_tokens.weight', [32000, 4096]),
  ...Array.from({ length: 32 }, (_, layer) => {
    const of = (name: string, shape: readonly number[], type?: 'q_proj' | 'k_proj' | 'fc_in') =>
      info(`model.layers.${layer}.${name}.weight`, shape, type && { layer, types: [type] });
    return [
      of('input_layernorm', [4096]),
      of('self_attn.q_proj', [4096, 4096], 'q_proj'),
      of('self_attn.k_proj', [1024, 4096], 'k_proj'),
      of('mlp.gate_proj', [14336, 4096], 'fc_in'),
    ];
  }).flat(),
  info('lm_head.weight', [32000, 4096]),
];

describe('summarise', () => {
  it('has one row for what all layers have, the matrices of interventions first', () => {
    const groups = summarise(mistral);
    expect(groups.map(({ name, tensors }) => [name, tensors])).toEqual([
      ['model.layers.*.self_attn.q_proj.weight', 32],
      ['model.layers.*.self_attn.k_proj.weight', 32],
      ['model.layers.*.mlp.gate_proj.weight', 32],
      ['model.embed_tokens.weight', 1],
      ['model.layers.*.input_layernorm.weight', 32],
      ['lm_head.weight', 1],
    ]);
    expect(groups[0]).toMatchObject({
      types: ['q_proj'],
      shape: [4096, 4096],
      dtype: 'BF16',
      parameters: 32 * 4096 ** 2,
    });
    expect(groups[4]!.layers).toEqual(Array.from({ length: 32 }, (_, i) => i));
    expect(groups[5]!.layers).toEqual([]);
    const sum = (of: (row: { parameters: number; bytes: number }) => number, rows: typeof mistral | typeof groups) =>
      rows.reduce((total, row) => total + of(row), 0);
    for (const of of [(row: { parameters: number }) => row.parameters, (row: { bytes: number }) => row.bytes]) {
      expect(sum(of as never, groups)).toBe(sum(of as never, mistral));
    }
  });

  it('keeps apart what differs in shape, type of numbers, or in a word with a digit', () => {
    const tensors = [
      info('blk.0.w1', [4, 4]),
      info('blk.1.w1', [4, 8]),
      info('blk.2.w1', [4, 4], { dtype: 'F32' }),
      info('blk.0.w2', [4, 4]),
      info('blk.3.w1', [4, 4]),
      info('onnx::MatMul_17', [4, 4]),
      info('onnx::MatMul_23', [4, 4]),
      info('m.5.experts.0.w', [4]),
      info('m.5.experts.1.w', [4]),
    ];
    expect(summarise(tensors).map(({ name, layers }) => [name, layers])).toEqual([
      ['blk.*.w1', [0, 3]],
      ['blk.1.w1', [1]],
      ['blk.2.w1', [2]],
      ['blk.0.w2', [0]],
      ['onnx::MatMul_*', []],
      ['m.5.experts.*.w', [5]],
    ]);
  });
});

describe('formatRanges', () => {
  it('joins neighbours', () => {
    expect(formatRanges([0, 1, 2, 3])).toBe('0-3');
    expect(formatRanges([0, 2, 3, 7])).toBe('0, 2-3, 7');
    expect(formatRanges([0, 2, 4, 6, 8])).toBe('5 of 0-8');
    expect(formatRanges([])).toBe('');
  });
});
