import type { Svd } from '../../linalg/svd.js';
import type { Method } from '../../lowrank/approximate.js';
import type { Certificate } from '../../lowrank/certificate.js';
import type { PlainTensor } from '../../tensor/tensor.js';
import type { Amount, AmountForm } from '../amount.js';

/** The effect of an amount on a matrix of some shape. */
export interface Resolved {
  /**
   * How many of the min(m, n) singular components are kept; undefined for a kind that does not
   * choose among them, and for an energy until the matrix is decomposed.
   */
  readonly rank: number | undefined;
  /** The index of the pruning threshold (see `thresholdIndex`); undefined if nothing is pruned. */
  readonly threshold: number | undefined;
  /** True if everything is kept, so that the matrix's bytes do not change. */
  readonly identity: boolean;
}

/** A matrix or a batch of them, and the change to make. */
export interface MatrixTask extends Omit<Resolved, 'identity'> {
  /** The name of the matrix: random choices differ from matrix to matrix. */
  readonly name: string;
  /** `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  readonly amount: Amount;
}

/** The certificates of a rank reduction: one for each matrix of a batch, and one for all. */
export interface Certificates {
  readonly certificate: Certificate;
  readonly certificates: readonly Certificate[];
}

/** New numbers, and the certificates if a decomposition has them. */
export interface AppliedIntervention {
  readonly data: Float32Array;
  readonly certified: Certificates | undefined;
}

/**
 * The source of decompositions: computed for this matrix, or remembered from an earlier
 * intervention on it.
 */
export interface Decomposer {
  /** Threads of the linear algebra. */
  readonly threads: number | undefined;
  /** The seed of random choices. */
  readonly seed: number | undefined;
  /** All singular components. */
  svd(w: PlainTensor): Promise<Svd>;
  /**
   * Returns the best approximation of rank k, for a batch with a k for each matrix if an energy
   * chooses it. May overwrite `w`.
   */
  truncate(w: PlainTensor, choice: Truncation): Promise<AppliedIntervention>;
}

/** k itself, or the share of the energy that the smallest k keeps. */
export type Truncation = { readonly rank: number } | { readonly energy: number };

/** How to count a matrix's memory. */
export interface MemoryOptions {
  readonly method: Method;
  readonly threads: number;
  /** `worst` counts the most expensive route to which the method may hand over. */
  readonly field: 'native' | 'worst';
}

/**
 * Everything that differs between the kinds of interventions. No other code decides by the name of
 * a kind.
 */
export interface Kind {
  readonly kind: string;
  readonly amount: AmountForm;
  /** @param shape [m, n] */
  resolve(amount: Amount, shape: readonly [m: number, n: number]): Resolved;
  /**
   * Returns the indexes of the singular components to keep in ascending order; index 0 has the
   * largest singular value. Undefined for a kind that does not choose among components.
   *
   * @param full min(m, n)
   */
  readonly keeps:
    | ((amount: Amount, full: number, draw: { readonly seed?: number; readonly matrix: string }) => Uint32Array)
    | undefined;
  /** Whether the largest singular values are kept, so that no matrix of this rank is closer. */
  readonly isBest: boolean;
  /** Whether the seed affects what is kept. */
  readonly isRandom: boolean;
  /** Whether numbers that do not become 0 keep their bits. */
  readonly onlyZeros: boolean;
  /** Whether the computation itself detects a NaN or an infinity. */
  readonly findsNotFinite: boolean;
  /** Describes what is kept, for a kind that does not choose among components. */
  readonly keptInWords: string;
  /**
   * Returns the number of operations, without those for reading and writing each number. Only the
   * proportions matter.
   */
  cost(shape: readonly number[]): number;
  /** Returns the bytes of native memory. */
  memory(task: Pick<MatrixTask, 'shape' | 'rank' | 'amount'>, options: MemoryOptions): number;
  /**
   * Applies the kind.
   *
   * @param data the numbers of `task.shape`, finite; may be overwritten, and returned
   */
  apply(task: MatrixTask, data: Float32Array, decomposer: Decomposer): Promise<AppliedIntervention>;
}
