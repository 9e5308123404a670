import { type Family, whole } from './family.js';

export const distilbert: Family = {
  name: 'distilbert',
  models: 'DistilBERT',
  modelTypes: ['distilbert'],
  architectures: ['DistilBert'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['distilbert.transformer.layer.', 'transformer.layer.'],
      matrices: {
        q_proj: whole('attention.q_lin.weight'),
        k_proj: whole('attention.k_lin.weight'),
        v_proj: whole('attention.v_lin.weight'),
        out_proj: whole('attention.out_lin.weight'),
        fc_in: whole('ffn.lin1.weight'),
        fc_out: whole('ffn.lin2.weight'),
      },
    },
  ],
};
