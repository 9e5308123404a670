import { LowRankError } from '../errors.js';
import { attentionHeads, type Config } from './sizes.js';

/**
 * The order of the rows of a weight in GGUF.
 *
 * - `paired`: within each head, number i of the first half is followed by number i of the second,
 *   because llama.cpp rotates neighbours where PyTorch rotates halves
 * - `interleaved`: q, k and v one after the other, where PyTorch has, for each head of k and v in
 *   turn, its heads of q, then its k and its v
 */
export interface RowOrder {
  readonly kind: 'paired' | 'interleaved';
  /** Of the weight that is reordered; those of k and v in turn if it also has q. */
  readonly heads: number;
  /** How many heads of q there are for each of k and v; 1 if undefined. */
  readonly queries?: number;
}

/**
 * Returns the heads of q or of k.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` if the config does not state them.
 */
export function headsOf(config: Config, type: 'q_proj' | 'k_proj'): number {
  const heads = attentionHeads(config);
  if (heads !== undefined) return type === 'q_proj' ? heads.query : heads.keyValue;
  throw new LowRankError('ERR_UNSUPPORTED', 'the number of attention heads, which orders rows in GGUF, is not stated', {
    hint: 'Pass the base model: its config.json, or its GGUF file, states it.',
  });
}

/**
 * Returns for each row in GGUF the row in PyTorch.
 *
 * @param rows how many there are
 * @param what names the weight, for messages
 * @throws LowRankError `ERR_SHAPE` if the heads do not divide them.
 */
export function pyTorchRows({ kind, heads, queries = 1 }: RowOrder, rows: number, what: string): Int32Array {
  const parts = kind === 'paired' ? 2 : queries + 2;
  const each = rows / (parts * heads);
  if (!Number.isInteger(each)) {
    throw new LowRankError('ERR_SHAPE', `${what}: ${rows} rows are not ${heads} heads of ${parts} equal parts`, {
      hint: 'The base model and the adapter or checkpoint do not belong together.',
    });
  }
  // The heads of q come first, then those of k, then those of v.
  const place = (part: number, head: number) => (part < queries ? head * queries + part : part * heads + head);
  const order = new Int32Array(rows);
  for (let head = 0, at = 0; head < heads; head++) {
    for (let i = 0; i < parts * each; i++, at++) {
      // Within the head, PyTorch has `parts` runs of `each` rows.
      const [part, row] = [Math.floor(i / each), i % each];
      order[kind === 'paired' ? head * 2 * each + 2 * row + part : place(part, head) * each + row] = at;
    }
  }
  return order;
}

/** Reorders the rows of a matrix, as numbers or as bytes: row i of the result is row `order[i]`. */
export function reordered<T extends Float32Array | Uint8Array>(data: T, order: Int32Array): T {
  const width = data.length / order.length;
  const result = data.slice() as T;
  for (const [i, row] of order.entries()) result.set(data.subarray(row * width, (row + 1) * width), i * width);
  return result;
}

/** Returns the order that undoes another. */
export function inverse(order: Int32Array): Int32Array {
  const result = new Int32Array(order.length);
  for (const [i, row] of order.entries()) result[row] = i;
  return result;
}
