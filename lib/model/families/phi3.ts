import { builtAttention } from './built.js';
import { type Family, fused, whole } from './family.js';
import { ggufFusedGate } from './gguf.js';

export const phi3: Family = {
  name: 'phi3',
  models: 'Phi-3, Phi-4, Phi-4-multimodal',
  modelTypes: ['phi3', 'phi4_multimodal'],
  architectures: ['Phi3', 'Phi4Multimodal'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['model.layers.', 'layers.'],
      matrices: {
        q_proj: [...fused('self_attn.qkv_proj.weight', 'heads', 'rows', 0), ...builtAttention.q_proj],
        k_proj: [...fused('self_attn.qkv_proj.weight', 'heads', 'rows', 1), ...builtAttention.k_proj],
        v_proj: [...fused('self_attn.qkv_proj.weight', 'heads', 'rows', 2), ...builtAttention.v_proj],
        out_proj: [...whole('self_attn.o_proj.weight'), ...builtAttention.out_proj],
        // onnxruntime-genai splits gate and up.
        fc_in: [...fused('mlp.gate_up_proj.weight', 'halves', 'rows', 0), ...whole('mlp.gate_proj.weight')],
        fc_up: [...fused('mlp.gate_up_proj.weight', 'halves', 'rows', 1), ...whole('mlp.up_proj.weight')],
        fc_out: whole('mlp.down_proj.weight'),
      },
    },
    ggufFusedGate,
  ],
  gguf: {
    architectures: ['phi3'],
    converted: { phi3: 'phi3' },
  },
};
