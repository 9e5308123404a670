import { type Family, fused, whole } from './family.js';

export const deberta: Family = {
  name: 'deberta',
  models: 'DeBERTa, DeBERTa v2 and v3',
  modelTypes: ['deberta', 'deberta-v2'],
  architectures: ['Deberta', 'DebertaV2'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['deberta.encoder.layer.', 'encoder.layer.'],
      matrices: {
        // The first version fuses q, k and v.
        q_proj: [
          ...whole('attention.self.query_proj.weight'),
          ...fused('attention.self.in_proj.weight', 'interleaved', 'rows', 0),
        ],
        k_proj: [
          ...whole('attention.self.key_proj.weight'),
          ...fused('attention.self.in_proj.weight', 'interleaved', 'rows', 1),
        ],
        v_proj: [
          ...whole('attention.self.value_proj.weight'),
          ...fused('attention.self.in_proj.weight', 'interleaved', 'rows', 2),
        ],
        out_proj: whole('attention.output.dense.weight'),
        fc_in: whole('intermediate.dense.weight'),
        fc_out: whole('output.dense.weight'),
      },
    },
  ],
};
