import { type Family, qkv, whole } from './family.js';
import { ggufPlain } from './gguf.js';

export const gptNeox: Family = {
  name: 'gpt_neox',
  models: 'GPT-NeoX, Pythia',
  modelTypes: ['gpt_neox'],
  architectures: ['GPTNeoX'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['gpt_neox.layers.', 'layers.'],
      matrices: {
        ...qkv('attention.query_key_value.weight', 'interleaved'),
        out_proj: whole('attention.dense.weight'),
        fc_in: whole('mlp.dense_h_to_4h.weight'),
        fc_out: whole('mlp.dense_4h_to_h.weight'),
      },
    },
    ggufPlain,
  ],
  gguf: {
    architectures: ['gptneox'],
    converted: { gpt_neox: 'gptneox' },
    embedding: 'gpt_neox.embed_in',
    head: 'embed_out',
  },
};
