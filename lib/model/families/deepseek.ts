import { DECODER_PREFIXES, type Family, fused, whole } from './family.js';
import { gatedFeedForward } from './gated.js';
import { gguf, ggufExperts } from './gguf.js';

/**
 * Attention through latent vectors (MLA): `q_a_proj` and `kv_a_proj` go down to them, q, k and v
 * up to the heads.
 */
export const deepseek: Family = {
  name: 'deepseek',
  models: 'DeepSeek V2, V3 and R1, Kimi K2 (attention through latent vectors)',
  modelTypes: ['deepseek_v2', 'deepseek_v3'],
  architectures: ['DeepseekV2', 'DeepseekV3'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: DECODER_PREFIXES,
      // Most sides are widths of latents and of heads, which tell nothing about the orientation.
      orientation: 'out x in',
      matrices: {
        q_proj: whole('self_attn.q_proj.weight', 'self_attn.q_b_proj.weight'),
        q_a_proj: whole('self_attn.q_a_proj.weight'),
        kv_a_proj: whole('self_attn.kv_a_proj_with_mqa.weight'),
        k_proj: fused('self_attn.kv_b_proj.weight', 'latent', 'rows', 0),
        v_proj: fused('self_attn.kv_b_proj.weight', 'latent', 'rows', 1),
        out_proj: whole('self_attn.o_proj.weight'),
        ...gatedFeedForward,
      },
    },
    gguf({
      ...ggufExperts,
      q_proj: whole('attn_q.weight', 'attn_q_b.weight'),
      q_a_proj: whole('attn_q_a.weight'),
      kv_a_proj: whole('attn_kv_a_mqa.weight'),
      // Newer files have a tensor of k and one of v, [heads, m, n]; that of k is transposed.
      k_proj: [...fused('attn_kv_b.weight', 'latent', 'rows', 0), { name: 'attn_k_b.weight', orientation: 'in x out' }],
      v_proj: [...fused('attn_kv_b.weight', 'latent', 'rows', 1), ...whole('attn_v_b.weight')],
    }),
  ],
  gguf: { architectures: ['deepseek2'] },
};
