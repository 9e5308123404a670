import type { Orientation, TensorInfo } from '../checkpoint/checkpoint.js';

/**
 * A matrix of a model that is stored in few bits: W has m rows and n columns, along which blocks
 * lie.
 */
export interface QuantizedMatrix {
  /** The tensor, with the way it lies. */
  readonly info: TensorInfo & { readonly orientation: Orientation };
  readonly m: number;
  readonly n: number;
  /**
   * Whether a linear layer multiplies by it, y = W x, or its rows are looked up, as those of an
   * embedding.
   */
  readonly use: 'linear' | 'lookup';
}
