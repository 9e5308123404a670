import type { Layer } from '../compress/select.js';

/**
 * A matrix of a model that can be stored in few bits: W has m rows and n columns, along which
 * blocks lie.
 */
export interface QuantizedMatrix extends Layer {
  /**
   * Whether a linear layer multiplies by it, y = W x, or its rows are looked up, as those of an
   * embedding.
   */
  readonly use: 'linear' | 'lookup';
}
