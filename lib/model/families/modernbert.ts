import { type Family, fused, qkv, whole } from './family.js';
import { ggufFusedGate } from './gguf.js';

export const modernbert: Family = {
  name: 'modernbert',
  models: 'ModernBERT',
  modelTypes: ['modernbert'],
  architectures: ['ModernBert'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['model.layers.', 'layers.'],
      matrices: {
        ...qkv('attn.Wqkv.weight', 'thirds'),
        out_proj: whole('attn.Wo.weight'),
        // The activation is applied to the first half, so that it is the gate.
        fc_in: fused('mlp.Wi.weight', 'halves', 'rows', 0),
        fc_up: fused('mlp.Wi.weight', 'halves', 'rows', 1),
        fc_out: whole('mlp.Wo.weight'),
      },
    },
    ggufFusedGate,
  ],
  gguf: { architectures: ['modern-bert'] },
};
