import { fused, type TensorNaming, whole } from './family.js';

/**
 * GGUF uses one set of names for all models (MODEL_TENSOR in ggml's Python package `gguf`).
 * Converters store every fused attention in the order q, k, v, even if the source interleaves
 * heads.
 */
const ggufAttention: TensorNaming['matrices'] = {
  q_proj: [...whole('attn_q.weight'), ...fused('attn_qkv.weight', 'heads', 'rows', 0)],
  k_proj: [...whole('attn_k.weight'), ...fused('attn_qkv.weight', 'heads', 'rows', 1)],
  v_proj: [...whole('attn_v.weight'), ...fused('attn_qkv.weight', 'heads', 'rows', 2)],
  out_proj: whole('attn_output.weight'),
};

/** The text before a layer's number in GGUF files of models with one stack of layers. */
export const GGUF_BLOCKS = 'blk.';

/** Returns the naming of GGUF files with these matrices beside, or instead of, the usual ones. */
export const gguf = (matrices: TensorNaming['matrices']): TensorNaming => ({
  prefixes: [GGUF_BLOCKS],
  orientation: 'out x in',
  matrices: { ...ggufAttention, ...matrices },
});

export const ggufPlain = gguf({ fc_in: whole('ffn_up.weight'), fc_out: whole('ffn_down.weight') });

/**
 * Experts are one tensor [experts, out, in], in older files one tensor each. Those that all tokens
 * share have tensors of their own.
 */
export const ggufExperts = {
  fc_in: [
    ...whole('ffn_gate.weight', 'ffn_gate_exps.weight', 'ffn_gate.#.weight'),
    ...fused('ffn_gate_up_exps.weight', 'halves', 'rows', 0),
  ],
  fc_up: [
    ...whole('ffn_up.weight', 'ffn_up_exps.weight', 'ffn_up.#.weight'),
    ...fused('ffn_gate_up_exps.weight', 'halves', 'rows', 1),
  ],
  fc_out: whole('ffn_down.weight', 'ffn_down_exps.weight', 'ffn_down.#.weight'),
  shared_in: whole('ffn_gate_shexp.weight'),
  shared_up: whole('ffn_up_shexp.weight'),
  shared_out: whole('ffn_down_shexp.weight'),
} as const satisfies TensorNaming['matrices'];

export const ggufGated = gguf(ggufExperts);

/** Gate and up are one tensor, which is named up. */
export const ggufFusedGate = gguf({
  fc_in: fused('ffn_up.weight', 'halves', 'rows', 0),
  fc_up: fused('ffn_up.weight', 'halves', 'rows', 1),
  fc_out: whole('ffn_down.weight'),
});
