import { type Family, whole } from './family.js';

export const gptNeo: Family = {
  name: 'gpt_neo',
  models: 'GPT-Neo',
  modelTypes: ['gpt_neo'],
  architectures: ['GPTNeo'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['transformer.h.', 'h.'],
      matrices: {
        q_proj: whole('attn.attention.q_proj.weight'),
        k_proj: whole('attn.attention.k_proj.weight'),
        v_proj: whole('attn.attention.v_proj.weight'),
        out_proj: whole('attn.attention.out_proj.weight'),
        fc_in: whole('mlp.c_fc.weight'),
        fc_out: whole('mlp.c_proj.weight'),
      },
    },
  ],
};
