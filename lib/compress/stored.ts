/** The forms in which a matrix is stored, and what each takes. */

import type { TensorChange } from '../checkpoint/checkpoint.js';
import type { BlockFormat } from '../quantize/block-format.js';
import { type Coded, codedBytes, describeCoded } from '../quantize/coded.js';
import { codedChange } from '../quantize/stored-tensors.js';
import { blockOf } from '../tensor/dtype.js';
import { elements } from '../tensor/tensor.js';
import type { Matrix } from './matrices.js';
import { parametersOf, type Storage } from './ranks.js';
import { factorTensors } from './stored-factors.js';

/**
 * What becomes of a matrix: it stays as it is; it becomes factors of some rank; it is rounded to
 * codes in blocks, with factors of some rank to correct it; or it is rounded to int8 with a scale
 * for each output, to be multiplied by inputs of 8 bits.
 */
export type StoredAs =
  | { readonly kind: 'dense' }
  | { readonly kind: 'factors'; readonly rank: number; readonly storage: Storage }
  | { readonly kind: 'blocks'; readonly format: BlockFormat; readonly rank: number }
  | { readonly kind: 'channels' };

/** The same, with all that is needed to store it. */
export type Stored = Extract<StoredAs, { kind: 'dense' | 'factors' }> | Coded;

export const DENSE: Stored = { kind: 'dense' };

export function isCoded(stored: Stored): stored is Coded {
  return stored.kind === 'blocks' || stored.kind === 'channels';
}

/** The bytes of the tensors that stand for a matrix. */
export function storedSize(matrix: Matrix, stored: Stored): number {
  if (isCoded(stored)) return codedBytes(matrix, stored);
  if (stored.kind === 'dense') return matrix.info.bytes;
  const tensors = factorTensors(matrix, stored.rank, stored.storage);
  return tensors.reduce((sum, { dtype, shape }) => sum + blockOf(dtype).bytes * elements(shape), 0);
}

/** The numbers that stand for a matrix, scales aside. */
export function storedNumbers({ m, n }: Matrix, stored: Stored): number {
  if (stored.kind === 'factors') return parametersOf(m, n, stored.rank, stored.storage);
  return m * n + (stored.kind === 'blocks' ? stored.rank * (m + n) : 0);
}

/**
 * The multiplications for one vector of inputs. Above its break-even rank a layer is multiplied by
 * the product of its factors, as if it were dense.
 */
export function multiplicationsOf({ use, m, n }: Matrix, stored: Stored): number {
  if (use === 'lookup') return 0;
  if (stored.kind === 'factors') return Math.min(m * n, stored.rank * (m + n));
  return m * n + (stored.kind === 'blocks' ? stored.rank * (m + n) : 0);
}

/**
 * The change of a matrix' tensor; undefined where it stays as it is.
 *
 * @param accuracyLevel of MatMulNBits, 0 to 4
 */
export function changeOf(matrix: Matrix, stored: Stored, accuracyLevel?: number): TensorChange | undefined {
  if (isCoded(stored)) return codedChange(matrix, stored, accuracyLevel);
  return stored.kind === 'dense' ? undefined : { by: factorTensors(matrix, stored.rank, stored.storage) };
}

/** What a report says of it. */
export function plainly(stored: Stored): StoredAs {
  return stored.kind === 'channels' ? { kind: 'channels' } : stored;
}

/** Returns a name for people, such as `rank 96 of 384` or `4 bits/32 + rank 16`. */
export function describeStored(matrix: Matrix, stored: Stored): string {
  if (isCoded(stored)) return describeCoded(matrix, stored);
  const { m, n } = matrix;
  return stored.kind === 'dense' ? 'dense' : `rank ${stored.rank} of ${Math.min(m, n)}`;
}
