import { type Family, qkv, type TensorNaming, whole } from './family.js';
import { ggufPlain } from './gguf.js';

/** Decision Transformer has the same blocks. */
export const gpt2Block: TensorNaming['matrices'] = {
  ...qkv('attn.c_attn.weight', 'thirds', 'columns'),
  out_proj: whole('attn.c_proj.weight'),
  fc_in: whole('mlp.c_fc.weight'),
  fc_out: whole('mlp.c_proj.weight'),
};

export const gpt2: Family = {
  name: 'gpt2',
  models: 'GPT-2, DistilGPT2',
  modelTypes: ['gpt2'],
  architectures: ['GPT2'],
  orientation: 'in x out',
  namings: [{ prefixes: ['transformer.h.', 'h.'], matrices: gpt2Block }, ggufPlain],
  gguf: {
    architectures: ['gpt2', 'mpt', 'starcoder2', 'codeshell'],
    converted: { gpt2: 'gpt2' },
    embedding: 'transformer.wte',
  },
};
