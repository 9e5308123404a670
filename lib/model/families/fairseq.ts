import { type TensorNaming, whole } from './family.js';

/** The matrices of a layer in models that grew out of fairseq, such as BART and OPT. */
export const fairseqLayer: TensorNaming['matrices'] = {
  q_proj: whole('self_attn.q_proj.weight'),
  k_proj: whole('self_attn.k_proj.weight'),
  v_proj: whole('self_attn.v_proj.weight'),
  out_proj: whole('self_attn.out_proj.weight'),
  fc_in: whole('fc1.weight'),
  fc_out: whole('fc2.weight'),
};
