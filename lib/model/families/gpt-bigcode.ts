import { type Family, qkv, whole } from './family.js';
import { ggufPlain } from './gguf.js';

/** GPT-2's names, but Linear layers and, as a rule, one head of k and v. */
export const gptBigcode: Family = {
  name: 'gpt_bigcode',
  models: 'StarCoder, SantaCoder',
  modelTypes: ['gpt_bigcode'],
  architectures: ['GPTBigCode'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['transformer.h.', 'h.'],
      matrices: {
        ...qkv('attn.c_attn.weight', 'interleaved'),
        out_proj: whole('attn.c_proj.weight'),
        fc_in: whole('mlp.c_fc.weight'),
        fc_out: whole('mlp.c_proj.weight'),
      },
    },
    ggufPlain,
  ],
  gguf: { architectures: ['starcoder'], converted: { gpt_bigcode: 'starcoder' }, embedding: 'transformer.wte' },
};
