import { type CallOptions, callAsync, pinned, threadCount } from '../addon/call.js';
import { addon } from '../addon/load.js';
import { ArgumentError } from '../errors.js';
import { matmul } from '../linalg/matmul.js';
import { asMatrices, type PlainTensor, type TensorLike } from '../tensor/tensor.js';

/**
 * A matrix B A of rank k in terms of k of its own rows: k (m + n - k) numbers, and the order of the
 * rows.
 */
export interface Interpolative {
  /** The pivot rows of B A, [k, n]. */
  readonly pivots: PlainTensor;
  /** The other rows as combinations of the pivot rows, [m - k, k]. */
  readonly coefficients: PlainTensor;
  /** m numbers: the positions in B A of the pivot rows, then of the others. */
  readonly order: Int32Array;
}

/**
 * Computes the interpolative decomposition of a product `B A` of rank k: k of its rows, the pivots,
 * and the coefficients of the others (Cheng, Gimbutas, Martinsson and Rokhlin 2005). The
 * coefficients of the pivots themselves, a k x k identity, are not stored. QR with column pivoting
 * of B^T chooses pivots that keep the coefficients small.
 *
 * @throws ArgumentError `ERR_SHAPE` if the shapes do not fit; LowRankError `ERR_ARGUMENT` if the
 *   columns of B are linearly dependent.
 */
export async function interpolate(
  factors: { readonly b: TensorLike; readonly a: TensorLike },
  options: CallOptions = {},
): Promise<Interpolative> {
  const [b, a] = [asMatrices(factors.b, 'b'), asMatrices(factors.a, 'a')];
  const { m, n: k } = b;
  if (b.batched || a.batched || a.m !== k || k > m) {
    throw new ArgumentError('b.shape', `[m, ${a.m}] with m of at least ${a.m}`, [m, k], 'ERR_SHAPE');
  }
  const order = new Int32Array(m);
  const coefficients = new Float32Array((m - k) * k);
  const job = { m, k, b: pinned(b.data), order, c: coefficients, threads: threadCount(options.threads) };
  await callAsync(addon().interpolateAsync, job, options);
  const pivotRows = new Float32Array(k * k);
  for (let j = 0; j < k; j++) pivotRows.set(b.data.subarray(order[j]! * k, (order[j]! + 1) * k), j * k);
  const pivots = await matmul({ data: pivotRows, shape: [k, k] }, { data: a.data, shape: [k, a.n] }, options);
  return { pivots, coefficients: { data: coefficients, shape: [m - k, k] }, order };
}
