import type { Beside } from '../addon/side-by-side.js';
import { checkOptions, type OptionTypes } from '../options.js';
import { shapeOf, type TensorLike } from '../tensor/tensor.js';
import {
  type Approximation,
  approximate,
  approximateSync,
  COMPUTE_OPTIONS,
  type ComputeOptions,
  type WeightOptions,
} from './approximate.js';
import { LowRank } from './factors.js';
import { MOMENTS } from './moments.js';
import { RANK_CHOICE, type RankChoice } from './rank.js';

const FACTORIZE_OPTIONS: OptionTypes<RankChoice & ComputeOptions & WeightOptions> = {
  ...RANK_CHOICE,
  ...COMPUTE_OPTIONS,
  moments: MOMENTS,
};

/**
 * Computes the best approximation of rank k as factors `W ~ B A` (Eckart and Young 1936), k (m + n)
 * numbers instead of m n.
 *
 * With the `moments` C of the vectors x that W multiplies, the factors minimise the mean of
 * |(W - B A) x|^2 instead: `b` has orthonormal columns and `a` is B^T W. Singular values, `energy`,
 * `tolerance` and all figures of the certificate are then those of W C^(1/2), so in the norm
 * |D| = tr(D C D^T)^(1/2).
 *
 * @param w - [m, n] or [batch, m, n], with `moments` [m, n]; not modified. Its large ArrayBuffer
 *   becomes untransferable.
 * @param options - how to choose k: `rank`, `rankFraction`, `energy` or `tolerance`; and how to
 *   compute.
 * @throws LowRankError `ERR_NOT_FINITE` for a NaN or an infinity, naming row and column;
 *   `ERR_NO_CONVERGENCE`; `ERR_MEMORY` if the job needs more than `maxMemory` or than LAPACK can
 *   address; `ERR_SHAPE`, `ERR_ARGUMENT`.
 */
export async function factorize(w: TensorLike, options: RankChoice & ComputeOptions & WeightOptions): Promise<LowRank> {
  return factorizeBeside(w, checkOptions(options, FACTORIZE_OPTIONS, 'factorize'));
}

/** {@link factorize} for a matrix beside others, with options that are checked already. */
export async function factorizeBeside(
  w: TensorLike,
  options: RankChoice & ComputeOptions & WeightOptions & Beside,
): Promise<LowRank> {
  return packed(await approximate(w, options, 'factors'));
}

/** {@link factorize}, computed before it returns. */
export function factorizeSync(w: TensorLike, options: RankChoice & ComputeOptions & WeightOptions): LowRank {
  return packed(approximateSync(w, checkOptions(options, FACTORIZE_OPTIONS, 'factorizeSync'), 'factors'));
}

/** Takes the factors out of buffers that may have room for a larger rank. */
function packed({ matrices, job, certificates, certificate }: Approximation): LowRank {
  const { batch, m, n } = matrices;
  const capacity = job.capacity!;
  const k = certificates.reduce((largest, c) => Math.max(largest, c.rank), 0);
  let { b, a, s } = job as { b: Float32Array; a: Float32Array; s: Float32Array };
  // The rows of each matrix have the stride of its own rank.
  if (certificates.some(({ rank }) => rank < capacity)) {
    const [wideB, wideA, wideS] = [b, a, s];
    b = new Float32Array(batch * m * k);
    a = new Float32Array(batch * k * n);
    s = new Float32Array(batch * k);
    certificates.forEach(({ rank }, i) => {
      for (let row = 0; row < m; row++) {
        const from = i * m * capacity + row * rank;
        b.set(wideB.subarray(from, from + rank), (i * m + row) * k);
      }
      a.set(wideA.subarray(i * capacity * n, (i * capacity + rank) * n), i * k * n);
      s.set(wideS.subarray(i * capacity, i * capacity + rank), i * k);
    });
  }
  return new LowRank(
    { data: b, shape: shapeOf(matrices, m, k) },
    { data: a, shape: shapeOf(matrices, k, n) },
    { data: s, shape: shapeOf(matrices, k) },
    certificates,
    certificate.seconds,
  );
}
