import { type Family, whole } from './family.js';

export const vit: Family = {
  name: 'vit',
  models: 'ViT, DeiT',
  modelTypes: ['vit', 'deit'],
  architectures: ['ViT', 'DeiT'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['vit.encoder.layer.', 'deit.encoder.layer.', 'encoder.layer.'],
      matrices: {
        q_proj: whole('attention.attention.query.weight'),
        k_proj: whole('attention.attention.key.weight'),
        v_proj: whole('attention.attention.value.weight'),
        out_proj: whole('attention.output.dense.weight'),
        fc_in: whole('intermediate.dense.weight'),
        fc_out: whole('output.dense.weight'),
      },
    },
    {
      // The names since transformers 5.
      prefixes: ['vit.layers.', 'deit.layers.', 'layers.'],
      matrices: {
        q_proj: whole('attention.q_proj.weight'),
        k_proj: whole('attention.k_proj.weight'),
        v_proj: whole('attention.v_proj.weight'),
        out_proj: whole('attention.o_proj.weight'),
        fc_in: whole('mlp.fc1.weight'),
        fc_out: whole('mlp.fc2.weight'),
      },
    },
  ],
};
