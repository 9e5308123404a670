import { DECODER_PREFIXES, type Family, type FusedPart, type MatrixLocation, whole } from './family.js';
import { ggufGated } from './gguf.js';

/** The experts alone are stored [experts, in, out], with columns of gate and up in turn. */
const alternating = (index: FusedPart['index']): readonly MatrixLocation[] => [
  {
    name: 'mlp.experts.gate_up_proj',
    orientation: 'in x out',
    part: { fusion: 'alternating', axis: 'columns', index },
  },
];

export const gptOss: Family = {
  name: 'gpt_oss',
  models: 'gpt-oss (experts in BF16, not in MXFP4)',
  modelTypes: ['gpt_oss'],
  architectures: ['GptOss'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: DECODER_PREFIXES,
      matrices: {
        q_proj: whole('self_attn.q_proj.weight'),
        k_proj: whole('self_attn.k_proj.weight'),
        v_proj: whole('self_attn.v_proj.weight'),
        out_proj: whole('self_attn.o_proj.weight'),
        fc_in: alternating(0),
        fc_up: alternating(1),
        fc_out: [{ name: 'mlp.experts.down_proj', orientation: 'in x out' }],
      },
    },
    ggufGated,
  ],
  gguf: { architectures: ['gpt-oss'] },
};
