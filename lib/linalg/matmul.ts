import { CALL_OPTIONS, type CallOptions, callAsync, callSync, pinned, threadCount } from '../addon/call.js';
import type { GemmJob } from '../addon/contract.js';
import { addon } from '../addon/load.js';
import { LowRankError } from '../errors.js';
import { boolean, checkOptions, type OptionTypes } from '../options.js';
import { asMatrices, asTensor, shapeOf, Tensor, type TensorLike } from '../tensor/tensor.js';

export interface MatmulOptions extends CallOptions {
  /** Uses the transpose of `a`, without forming it. */
  transposeA?: boolean;
  /** Uses the transpose of `b`, without forming it. */
  transposeB?: boolean;
}

const MATMUL_OPTIONS: OptionTypes<MatmulOptions> = { ...CALL_OPTIONS, transposeA: boolean, transposeB: boolean };

/**
 * Computes the matrix product [m, k] x [k, n] -> [m, n], those of two equally long batches, matrix
 * by matrix, or the product with a vector [m, k] x [k] -> [m].
 *
 * @throws LowRankError `ERR_SHAPE` if the inner sizes or the batches differ, `ERR_ARGUMENT`.
 */
export async function matmul(a: TensorLike, b: TensorLike, options?: MatmulOptions): Promise<Tensor> {
  const given = checkOptions(options, MATMUL_OPTIONS, 'matmul');
  const { job, shape } = prepared(a, b, given);
  await callAsync(addon().gemmAsync, { ...job, a: pinned(job.a), b: pinned(job.b) }, given);
  return new Tensor(job.c, shape);
}

/** {@link matmul}, computed before it returns. */
export function matmulSync(a: TensorLike, b: TensorLike, options?: MatmulOptions): Tensor {
  const { job, shape } = prepared(a, b, checkOptions(options, MATMUL_OPTIONS, 'matmulSync'));
  callSync(addon().gemm, job);
  return new Tensor(job.c, shape);
}

function prepared(a: TensorLike, b: TensorLike, options: MatmulOptions): { job: GemmJob; shape: number[] } {
  const { transposeA = false, transposeB = false, threads } = options;
  const left = asMatrices(a, 'a');
  const given = asTensor(b, 'b');
  // A vector is a column, whatever is asked of matrices.
  const vector = given.shape.length === 1 && !left.batched && !transposeB;
  const right = asMatrices(vector ? given.reshape([-1, 1]) : given, 'b');
  const [m, k] = transposeA ? [left.n, left.m] : [left.m, left.n];
  const [inner, n] = transposeB ? [right.n, right.m] : [right.m, right.n];
  if (k !== inner || left.batch !== right.batch || left.batched !== right.batched) {
    const text = ({ batch, batched, m, n }: typeof left, transposed: boolean) =>
      `[${batched ? `${batch}, ` : ''}${m}, ${n}]${transposed ? ' transposed' : ''}`;
    throw new LowRankError(
      'ERR_SHAPE',
      `cannot multiply ${text(left, transposeA)} by ${text(right, transposeB)}: the inner sizes and batches must agree`,
    );
  }
  const { batch } = left;
  const c = new Float32Array(batch * m * n);
  return {
    job: { batch, m, n, k, transposeA, transposeB, a: left.data, b: right.data, c, threads: threadCount(threads) },
    shape: vector ? [m] : shapeOf(left, m, n),
  };
}
