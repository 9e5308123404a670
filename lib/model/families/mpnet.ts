import { type Family, whole } from './family.js';

export const mpnet: Family = {
  name: 'mpnet',
  models: 'MPNet',
  modelTypes: ['mpnet'],
  architectures: ['MPNet'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['mpnet.encoder.layer.', 'encoder.layer.'],
      matrices: {
        q_proj: whole('attention.attn.q.weight'),
        k_proj: whole('attention.attn.k.weight'),
        v_proj: whole('attention.attn.v.weight'),
        out_proj: whole('attention.attn.o.weight'),
        fc_in: whole('intermediate.dense.weight'),
        fc_out: whole('output.dense.weight'),
      },
    },
  ],
};
