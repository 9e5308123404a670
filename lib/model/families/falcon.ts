import { bloomBlock } from './bloom.js';
import type { Family } from './family.js';
import { ggufPlain } from './gguf.js';

export const falcon: Family = {
  name: 'falcon',
  models: 'Falcon 7B, 40B, 180B and RW',
  modelTypes: ['falcon', 'RefinedWeb', 'RefinedWebModel'],
  architectures: ['Falcon', 'RW'],
  orientation: 'out x in',
  namings: [{ prefixes: ['transformer.h.', 'h.'], matrices: bloomBlock }, ggufPlain],
  gguf: {
    architectures: ['falcon'],
    converted: { falcon: 'falcon' },
    embedding: 'transformer.word_embeddings',
  },
};
