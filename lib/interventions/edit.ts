import type { GroupType, MatrixType } from '../model/types.js';
import type { ReadableType, WritableType } from '../tensor/dtype.js';
import { describeSlice, type Slice } from '../tensor/slice.js';
import type { Intervention } from './spec.js';

/** One intervention on one matrix, or on all matrices of one 3D tensor. */
export interface Edit {
  readonly tensor: string;
  /** Undefined for the whole tensor. */
  readonly slice: Slice | undefined;
  /** Undefined where the tensor was chosen by name. */
  readonly layer: number | undefined;
  /** Undefined where the tensor was chosen by name. */
  readonly type: MatrixType | GroupType | undefined;
  /** Of what is edited: `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  /** As the source stores it. */
  readonly dtype: ReadableType;
  /** As the result is stored: another type only where the source is quantised and `quant` says so. */
  readonly writtenAs: WritableType | ReadableType;
  readonly intervention: Intervention;
  /** How many singular components stay, of min(m, n); undefined for an intervention that does not choose among them. */
  readonly rank: number | undefined;
  /** Where the pruning threshold stands (see `thresholdIndex`); undefined where nothing is pruned. */
  readonly threshold: number | undefined;
  /** How many places of the model use the tensor, where several do: the edit changes the weight of all of them. */
  readonly uses?: number;
  /** True where all is kept, so that the tensor's bytes stay as they are. */
  readonly identity: boolean;
}

/** The edit's matrix in words, for messages and tables. */
export function nameOf({ tensor, slice }: Pick<Edit, 'tensor' | 'slice'>): string {
  return slice === undefined ? tensor : `${tensor} [${describeSlice(slice)}]`;
}
