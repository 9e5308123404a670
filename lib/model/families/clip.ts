import { type Family, type TensorNaming, whole } from './family.js';

const layer: TensorNaming['matrices'] = {
  q_proj: whole('self_attn.q_proj.weight'),
  k_proj: whole('self_attn.k_proj.weight'),
  v_proj: whole('self_attn.v_proj.weight'),
  out_proj: whole('self_attn.out_proj.weight'),
  fc_in: whole('mlp.fc1.weight'),
  fc_out: whole('mlp.fc2.weight'),
};

export const clip: Family = {
  name: 'clip',
  models: 'CLIP, SigLIP (the text tower, then the vision tower)',
  modelTypes: ['clip', 'clip_text_model', 'clip_vision_model', 'siglip', 'siglip_text_model', 'siglip_vision_model'],
  architectures: ['CLIP', 'CLIPText', 'CLIPVision', 'Siglip', 'SiglipText', 'SiglipVision'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['text_model.encoder.layers.'],
      matrices: layer,
      config: 'text_config',
      next: { prefixes: ['vision_model.encoder.layers.'], matrices: layer, config: 'vision_config' },
    },
  ],
};
