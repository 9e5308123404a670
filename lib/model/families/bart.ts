import { fairseqLayer } from './fairseq.js';
import { type Family, whole } from './family.js';

export const bart: Family = {
  name: 'bart',
  models: 'BART, mBART, Marian, Pegasus, M2M100, NLLB, Whisper',
  modelTypes: ['bart', 'mbart', 'marian', 'pegasus', 'm2m_100', 'whisper'],
  architectures: ['Bart', 'MBart', 'Marian', 'MarianMT', 'Pegasus', 'M2M100', 'Whisper'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['model.encoder.layers.', 'encoder.layers.'],
      matrices: fairseqLayer,
      next: {
        prefixes: ['model.decoder.layers.', 'decoder.layers.'],
        matrices: {
          ...fairseqLayer,
          cross_q_proj: whole('encoder_attn.q_proj.weight'),
          cross_k_proj: whole('encoder_attn.k_proj.weight'),
          cross_v_proj: whole('encoder_attn.v_proj.weight'),
          cross_out_proj: whole('encoder_attn.out_proj.weight'),
        },
      },
    },
  ],
};
