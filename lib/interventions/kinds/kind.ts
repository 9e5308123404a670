import type { Svd } from '../../linalg/svd.js';
import type { Method } from '../../lowrank/approximate.js';
import type { Certificate } from '../../lowrank/certificate.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Amount, AmountForm } from '../amount.js';

/** What an amount comes to on a matrix of some shape. */
export interface Resolved {
  /** How many singular components stay, of min(m, n); undefined for a kind that does not choose among them. */
  readonly rank: number | undefined;
  /** Where the pruning threshold stands (see `thresholdIndex`); undefined where nothing is pruned. */
  readonly threshold: number | undefined;
  /** True where all is kept, so that the matrix's bytes stay as they are. */
  readonly identity: boolean;
}

/** A matrix, or a batch of them, and what is to be done to it. */
export interface Task extends Omit<Resolved, 'identity'> {
  /** What the matrix is called: random choices differ from matrix to matrix. */
  readonly name: string;
  /** `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  readonly amount: Amount;
}

/** What a rank reduction says of itself: one certificate for each matrix of a batch, and one for all. */
export interface Certified {
  readonly certificate: Certificate;
  readonly certificates: readonly Certificate[];
}

/** New numbers, and the certificates of a decomposition that has them. */
export interface Applied {
  readonly data: Float32Array;
  readonly certified: Certified | undefined;
}

/** Where decompositions come from: computed for this matrix, or remembered from an earlier intervention on it. */
export interface Decomposer {
  /** Threads of the linear algebra. */
  readonly threads: number | undefined;
  /** Of random choices. */
  readonly seed: number | undefined;
  /** All singular components. */
  svd(w: Tensor): Promise<Svd>;
  /** The best approximation of rank k. May overwrite `w`. */
  truncate(w: Tensor, rank: number): Promise<Applied>;
}

/** How a matrix's memory is counted. */
export interface MemoryOptions {
  readonly method: Method;
  readonly threads: number;
  /** `worst` counts the most expensive route to which the method may hand over. */
  readonly field: 'native' | 'worst';
}

/** All that differs between the kinds of interventions. The rest of the package asks, and decides nothing by name. */
export interface Kind {
  readonly kind: string;
  readonly amount: AmountForm;
  /** @param shape [m, n] */
  resolve(amount: Amount, shape: readonly [m: number, n: number]): Resolved;
  /**
   * Places of the singular components that stay, ascending; 0 is that of the largest singular value. Undefined for a kind
   * that does not choose among components.
   *
   * @param full min(m, n)
   */
  readonly keeps:
    | ((amount: Amount, full: number, draw: { readonly seed?: number; readonly matrix: string }) => Uint32Array)
    | undefined;
  /** Whether those of the largest singular values stay, so that no matrix of this rank is nearer. */
  readonly isBest: boolean;
  /** Whether it depends on the seed what stays. */
  readonly isRandom: boolean;
  /** Whether numbers that do not become 0 stay as they are, to the bit. */
  readonly onlyZeros: boolean;
  /** Whether a NaN or an infinity is found by the computation itself. */
  readonly findsNotFinite: boolean;
  /** What stays, in words, of a kind that does not choose among components. */
  readonly keptInWords: string;
  /** Operations, apart from those that reading and writing each number takes. Only the proportions matter. */
  cost(shape: readonly number[]): number;
  /** Bytes of native memory. */
  memory(task: Pick<Task, 'shape' | 'rank'>, options: MemoryOptions): number;
  /** @param data the numbers of `task.shape`, finite; may be overwritten, and returned */
  apply(task: Task, data: Float32Array, decomposer: Decomposer): Promise<Applied>;
}
