import { type Family, qkv, type TensorNaming, whole } from './family.js';
import { ggufPlain } from './gguf.js';

/** Falcon, which grew out of BLOOM's code, has the same names. */
export const bloomBlock: TensorNaming['matrices'] = {
  ...qkv('self_attention.query_key_value.weight', 'interleaved'),
  out_proj: whole('self_attention.dense.weight'),
  fc_in: whole('mlp.dense_h_to_4h.weight'),
  fc_out: whole('mlp.dense_4h_to_h.weight'),
};

export const bloom: Family = {
  name: 'bloom',
  models: 'BLOOM, BLOOMZ',
  modelTypes: ['bloom'],
  architectures: ['Bloom'],
  orientation: 'out x in',
  namings: [{ prefixes: ['transformer.h.', 'h.'], matrices: bloomBlock }, ggufPlain],
  gguf: {
    architectures: ['bloom'],
    converted: { bloom: 'bloom' },
    embedding: 'transformer.word_embeddings',
  },
};
