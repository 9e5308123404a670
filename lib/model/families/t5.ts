import { type Family, type TensorNaming, whole } from './family.js';

const attention = (layer: string): TensorNaming['matrices'] => ({
  q_proj: whole(`${layer}.SelfAttention.q.weight`),
  k_proj: whole(`${layer}.SelfAttention.k.weight`),
  v_proj: whole(`${layer}.SelfAttention.v.weight`),
  out_proj: whole(`${layer}.SelfAttention.o.weight`),
});

const crossAttention = (layer: string): TensorNaming['matrices'] => ({
  cross_q_proj: whole(`${layer}.EncDecAttention.q.weight`),
  cross_k_proj: whole(`${layer}.EncDecAttention.k.weight`),
  cross_v_proj: whole(`${layer}.EncDecAttention.v.weight`),
  cross_out_proj: whole(`${layer}.EncDecAttention.o.weight`),
});

/** Newer models are gated: `wi_0` is the gate. */
const feedForward = (layer: string): TensorNaming['matrices'] => ({
  fc_in: whole(`${layer}.DenseReluDense.wi.weight`, `${layer}.DenseReluDense.wi_0.weight`),
  fc_up: whole(`${layer}.DenseReluDense.wi_1.weight`),
  fc_out: whole(`${layer}.DenseReluDense.wo.weight`),
});

const ggufAttention: TensorNaming['matrices'] = {
  q_proj: whole('attn_q.weight'),
  k_proj: whole('attn_k.weight'),
  v_proj: whole('attn_v.weight'),
  out_proj: whole('attn_o.weight'),
};

const ggufCrossAttention: TensorNaming['matrices'] = {
  cross_q_proj: whole('cross_attn_q.weight'),
  cross_k_proj: whole('cross_attn_k.weight'),
  cross_v_proj: whole('cross_attn_v.weight'),
  cross_out_proj: whole('cross_attn_o.weight'),
};

const ggufStacks = (feedForward: TensorNaming['matrices']): TensorNaming => ({
  prefixes: ['enc.blk.'],
  orientation: 'out x in',
  matrices: { ...ggufAttention, ...feedForward },
  next: {
    prefixes: ['dec.blk.'],
    orientation: 'out x in',
    matrices: { ...ggufAttention, ...ggufCrossAttention, ...feedForward },
  },
});

export const t5: Family = {
  name: 't5',
  models: 'T5, Flan-T5, mT5, UMT5',
  modelTypes: ['t5', 'mt5', 'umt5'],
  architectures: ['T5', 'MT5', 'UMT5', 'T5Encoder', 'MT5Encoder', 'UMT5Encoder'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['encoder.block.', 'transformer.encoder.block.'],
      matrices: { ...attention('layer.0'), ...feedForward('layer.1') },
      next: {
        prefixes: ['decoder.block.', 'transformer.decoder.block.'],
        matrices: { ...attention('layer.0'), ...crossAttention('layer.1'), ...feedForward('layer.2') },
      },
    },
    // What is called up is the only matrix into the block unless there is a gate.
    {
      ...ggufStacks({
        fc_in: whole('ffn_gate.weight'),
        fc_up: whole('ffn_up.weight'),
        fc_out: whole('ffn_down.weight'),
      }),
      requires: '.ffn_gate.weight',
    },
    ggufStacks({ fc_in: whole('ffn_up.weight'), fc_out: whole('ffn_down.weight') }),
  ],
  gguf: { architectures: ['t5', 't5encoder'] },
};
