import type { TensorChange } from '../checkpoint/checkpoint.js';
import { typeChanges } from '../checkpoint/layout.js';
import type { GroupType, MatrixType } from '../model/types.js';
import { gridOf } from '../tensor/block-slice.js';
import type { ReadableType, WritableType } from '../tensor/dtype.js';
import { describeSlice, type Slice } from '../tensor/slice.js';
import { elements } from '../tensor/tensor.js';
import type { Resolved } from './kinds/kind.js';
import type { Intervention } from './spec.js';

/** One intervention on one matrix, or on all matrices of one 3D tensor. */
export interface Edit extends Resolved {
  readonly tensor: string;
  /** Undefined for the whole tensor. */
  readonly slice: Slice | undefined;
  /** Undefined if the tensor was selected by name. */
  readonly layer: number | undefined;
  /** Undefined if the tensor was selected by name. */
  readonly type: MatrixType | GroupType | undefined;
  /** The shape to edit: `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  /** The type in the source. */
  readonly dtype: ReadableType;
  /**
   * The type in the result. It differs only if the source is quantised and `quant` sets another
   * type.
   */
  readonly writtenAs: WritableType | ReadableType;
  readonly intervention: Intervention;
  /**
   * The number of places in the model that use the tensor, if there are several: the edit changes
   * the weight of all of them.
   */
  readonly uses?: number;
}

/** Names the edit's matrix for messages and tables. */
export function nameOf({ tensor, slice }: Pick<Edit, 'tensor' | 'slice'>): string {
  return slice === undefined ? tensor : `${tensor} [${describeSlice(slice)}]`;
}

/**
 * Groups edits by tensor. They stay in the order of the tensors, by which a plan sorts its edits.
 */
export function byTensor(edits: readonly Edit[]): (readonly Edit[])[] {
  const groups = new Map<string, Edit[]>();
  for (const edit of edits) {
    const group = groups.get(edit.tensor);
    if (group === undefined) groups.set(edit.tensor, [edit]);
    else group.push(edit);
  }
  return [...groups.values()];
}

/** Whether a tensor's bytes change. */
export function changes(group: readonly Edit[]): boolean {
  return group.some(({ identity }) => !identity);
}

/**
 * Returns the type in which a changed tensor is written. A plan never writes one tensor in two
 * types.
 */
export function writtenAs(group: readonly Edit[]): WritableType {
  return (group.find(({ identity }) => !identity) ?? group[0]!).writtenAs as WritableType;
}

/** Returns the tensors that change, and the types in which they are written. */
export function tensorChanges(edits: readonly Edit[]): Map<string, TensorChange> {
  return typeChanges(edits.filter(({ identity }) => !identity).map(({ tensor, writtenAs }) => [tensor, writtenAs]));
}

/**
 * Whether a whole tensor must be decoded: if an edited slice cuts through blocks, or if the slices
 * beside it also change their type.
 */
export function needsWhole(shape: readonly number[], group: readonly Edit[]): boolean {
  const as = writtenAs(group);
  return group.some(
    ({ slice, dtype }) => slice !== undefined && (as !== dtype || gridOf(shape, dtype, slice) === undefined),
  );
}

/**
 * Returns the most numbers that are in memory as float32 at once: those of the largest matrix,
 * batch or whole tensor.
 */
export function numbersToHold(edits: readonly Edit[]): number {
  return edits.reduce((most, { shape, identity }) => (identity ? most : Math.max(most, elements(shape))), 0);
}
