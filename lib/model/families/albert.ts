import { type Family, whole } from './family.js';

/**
 * ALBERT computes all its layers with the matrices of one group, or of a few, so that an edit of
 * layer 0 acts everywhere. A layer's number is that of its group; a group of several layers has
 * several matrices of each type.
 */
export const albert: Family = {
  name: 'albert',
  models: 'ALBERT (all layers share the matrices of layer 0)',
  modelTypes: ['albert'],
  architectures: ['Albert'],
  orientation: 'out x in',
  namings: [
    {
      prefixes: ['albert.encoder.albert_layer_groups.', 'encoder.albert_layer_groups.'],
      matrices: {
        q_proj: whole('albert_layers.#.attention.query.weight'),
        k_proj: whole('albert_layers.#.attention.key.weight'),
        v_proj: whole('albert_layers.#.attention.value.weight'),
        out_proj: whole('albert_layers.#.attention.dense.weight'),
        fc_in: whole('albert_layers.#.ffn.weight'),
        fc_out: whole('albert_layers.#.ffn_output.weight'),
      },
    },
  ],
};
