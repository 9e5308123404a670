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
  /** How many places of the model use the tensor, where several do: the edit changes the weight of all of them. */
  readonly uses?: number;
}

/** The edit's matrix in words, for messages and tables. */
export function nameOf({ tensor, slice }: Pick<Edit, 'tensor' | 'slice'>): string {
  return slice === undefined ? tensor : `${tensor} [${describeSlice(slice)}]`;
}

/** Edits of one tensor after another. Their order is that of the tensors, since a plan's edits are sorted so. */
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

/** The type that a changed tensor is written as: a plan has no change into another. */
export function writtenAs(group: readonly Edit[]): WritableType {
  return (group.find(({ identity }) => !identity) ?? group[0]!).writtenAs as WritableType;
}

/** The tensors that change, and the types they are written as. */
export function tensorChanges(edits: readonly Edit[]): Map<string, TensorChange> {
  return typeChanges(edits.filter(({ identity }) => !identity).map(({ tensor, writtenAs }) => [tensor, writtenAs]));
}

/**
 * Whether a tensor has to be decoded as a whole: where a slice of it is edited that cuts through blocks, or the slices
 * beside it take on another type too.
 */
export function needsWhole(shape: readonly number[], group: readonly Edit[]): boolean {
  const as = writtenAs(group);
  return group.some(
    ({ slice, dtype }) => slice !== undefined && (as !== dtype || gridOf(shape, dtype, slice) === undefined),
  );
}

/** How many numbers have to be in memory as float32 at once: of the largest matrix, batch or whole tensor. */
export function numbersToHold(edits: readonly Edit[]): number {
  return edits.reduce((most, { shape, identity }) => (identity ? most : Math.max(most, elements(shape))), 0);
}
