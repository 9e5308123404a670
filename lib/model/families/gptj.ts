import { type Family, whole } from './family.js';
import { ggufPlain } from './gguf.js';

export const gptj: Family = {
  name: 'gptj',
  models: 'GPT-J',
  modelTypes: ['gptj'],
  architectures: ['GPTJ'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['transformer.h.', 'h.'],
      matrices: {
        q_proj: whole('attn.q_proj.weight'),
        k_proj: whole('attn.k_proj.weight'),
        v_proj: whole('attn.v_proj.weight'),
        out_proj: whole('attn.out_proj.weight'),
        fc_in: whole('mlp.fc_in.weight'),
        fc_out: whole('mlp.fc_out.weight'),
      },
    },
    ggufPlain,
  ],
  gguf: {
    architectures: ['gptj'],
  },
};
