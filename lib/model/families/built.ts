import { fused, whole } from './family.js';

/** The attention of every decoder that onnxruntime-genai builds, whatever names the family used. */
export const builtAttention = {
  q_proj: [...whole('attn.q_proj.weight'), ...fused('attn.qkv_proj.weight', 'heads', 'rows', 0)],
  k_proj: [...whole('attn.k_proj.weight'), ...fused('attn.qkv_proj.weight', 'heads', 'rows', 1)],
  v_proj: [...whole('attn.v_proj.weight'), ...fused('attn.qkv_proj.weight', 'heads', 'rows', 2)],
  out_proj: whole('attn.o_proj.weight'),
} as const;
