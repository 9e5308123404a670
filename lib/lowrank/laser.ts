import { boolean, checkOptions, type OptionTypes } from '../options.js';
import { shapeOf, Tensor, type TensorLike } from '../tensor/tensor.js';
import {
  type Approximation,
  approximate,
  approximateSync,
  COMPUTE_OPTIONS,
  type ComputeOptions,
} from './approximate.js';
import type { Certificate } from './certificate.js';
import { RANK_CHOICE, type RankChoice, rankOfFraction } from './rank.js';

export interface LaserOptions extends ComputeOptions {
  /**
   * Writes the result over the input and returns it, which saves a copy in memory. Refused for a
   * view that is not row-major.
   */
  inPlace?: boolean;
}

const LASER_OPTIONS: OptionTypes<RankChoice & LaserOptions> = { ...RANK_CHOICE, ...COMPUTE_OPTIONS, inPlace: boolean };

/** An approximation and its certificates. */
export interface Certified {
  /** The approximation, in the shape of the input. */
  readonly value: Tensor;
  readonly certificate: Certificate;
  /** One for each matrix of a batch. */
  readonly certificates: readonly Certificate[];
}

/** {@link laser} @inline */
interface LaserFunction {
  (w: TensorLike, options: RankChoice & LaserOptions): Promise<Tensor>;
  /** Returns the same with a {@link Certificate}. */
  certified(w: TensorLike, options: RankChoice & LaserOptions): Promise<Certified>;
}

/** {@link laserSync} @inline */
interface LaserSyncFunction {
  (w: TensorLike, options: RankChoice & LaserOptions): Tensor;
  /** Returns the same with a {@link Certificate}. */
  certified(w: TensorLike, options: RankChoice & LaserOptions): Certified;
}

/**
 * Replaces each matrix by its best approximation of rank k, the intervention of LASER (Sharma, Ash
 * and Misra 2023, arXiv 2312.13558): `laser(w, { rankFraction: 0.1 })`. k = 0 gives zeros, k =
 * min(m, n) the matrix itself.
 *
 * @param w - [m, n] or [batch, m, n]; not modified unless `inPlace`. Its large ArrayBuffer becomes
 *   untransferable.
 * @param options - how to choose k: `rank`, `rankFraction`, `energy` or `tolerance`; and how to
 *   compute.
 * @returns a tensor of the same shape.
 * @throws LowRankError as {@link factorize}.
 * @function
 */
export const laser: LaserFunction = Object.assign(
  async (w: TensorLike, options: RankChoice & LaserOptions) => (await laser.certified(w, options)).value,
  {
    certified: async (w: TensorLike, options: RankChoice & LaserOptions) => {
      const given = checkOptions(options, LASER_OPTIONS, 'laser');
      return certified(await approximate(w, given, wanted(given)));
    },
  },
);

/**
 * {@link laser}, computed before it returns.
 *
 * @function
 */
export const laserSync: LaserSyncFunction = Object.assign(
  (w: TensorLike, options: RankChoice & LaserOptions) => laserSync.certified(w, options).value,
  {
    certified: (w: TensorLike, options: RankChoice & LaserOptions) => {
      const given = checkOptions(options, LASER_OPTIONS, 'laserSync');
      return certified(approximateSync(w, given, wanted(given)));
    },
  },
);

/**
 * A module that applies {@link laser} to its input, with a fixed fraction of the rank: the `Laser`
 * of the zeta library.
 */
export class Laser {
  /** The share of the rank to keep, 0 to 1. */
  readonly rankFraction: number;
  readonly #options: ComputeOptions;

  /** @throws ArgumentError if `rankFraction` is outside [0, 1], or an option is wrong. */
  constructor(rankFraction: number, options?: ComputeOptions) {
    rankOfFraction(rankFraction, 1);
    this.rankFraction = rankFraction;
    this.#options = checkOptions(options, COMPUTE_OPTIONS, 'Laser');
  }

  /** Applies {@link laser} to a matrix or a batch. */
  forward(w: TensorLike): Promise<Tensor> {
    return laser(w, { ...this.#options, rankFraction: this.rankFraction });
  }

  /** Applies {@link laserSync} to a matrix or a batch. */
  forwardSync(w: TensorLike): Tensor {
    return laserSync(w, { ...this.#options, rankFraction: this.rankFraction });
  }
}

function wanted(options: LaserOptions): 'dense' | 'in place' {
  return options.inPlace ? 'in place' : 'dense';
}

function certified({ matrices, job, certificate, certificates }: Approximation): Certified {
  const value = new Tensor(job.dense!, shapeOf(matrices, matrices.m, matrices.n));
  return { value, certificate, certificates };
}
