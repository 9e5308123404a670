import { type Family, whole } from './family.js';

export const opt: Family = {
  name: 'opt',
  models: 'OPT',
  modelTypes: ['opt'],
  architectures: ['OPT'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['model.decoder.layers.', 'decoder.layers.'],
      matrices: {
        q_proj: whole('self_attn.q_proj.weight'),
        k_proj: whole('self_attn.k_proj.weight'),
        v_proj: whole('self_attn.v_proj.weight'),
        out_proj: whole('self_attn.out_proj.weight'),
        fc_in: whole('fc1.weight'),
        fc_out: whole('fc2.weight'),
      },
    },
  ],
};
