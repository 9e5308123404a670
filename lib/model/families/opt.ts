import { fairseqLayer } from './fairseq.js';
import type { Family } from './family.js';

export const opt: Family = {
  name: 'opt',
  models: 'OPT',
  modelTypes: ['opt'],
  architectures: ['OPT'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['model.decoder.layers.', 'decoder.layers.'],
      matrices: fairseqLayer,
    },
  ],
};
