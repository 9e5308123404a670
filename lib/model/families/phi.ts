import { builtAttention } from './built.js';
import { type Family, qkv, whole } from './family.js';
import { ggufPlain } from './gguf.js';

export const phi: Family = {
  name: 'phi',
  models: 'Phi-1, Phi-1.5, Phi-2',
  modelTypes: ['phi', 'phi-msft'],
  architectures: ['Phi'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['model.layers.', 'layers.'],
      matrices: {
        q_proj: [...whole('self_attn.q_proj.weight'), ...builtAttention.q_proj],
        k_proj: [...whole('self_attn.k_proj.weight'), ...builtAttention.k_proj],
        v_proj: [...whole('self_attn.v_proj.weight'), ...builtAttention.v_proj],
        out_proj: [...whole('self_attn.dense.weight'), ...builtAttention.out_proj],
        fc_in: whole('mlp.fc1.weight'),
        fc_out: whole('mlp.fc2.weight'),
      },
    },
    {
      // The names of the code that came with the weights before transformers had the model.
      prefixes: ['transformer.h.', 'h.'],
      matrices: {
        ...qkv('mixer.Wqkv.weight', 'heads'),
        out_proj: whole('mixer.out_proj.weight'),
        fc_in: whole('mlp.fc1.weight'),
        fc_out: whole('mlp.fc2.weight'),
      },
    },
    ggufPlain,
  ],
  gguf: {
    architectures: ['phi2'],
    converted: { phi: 'phi2' },
  },
};
