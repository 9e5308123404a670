import { type BlockFormat, type BlockSize, CODE_BITS, type CodeBits, sizesOf } from './block-format.js';
import type { QuantizedMatrix } from './matrix.js';

/**
 * What becomes of a matrix: it stays as it is; it is rounded to codes in blocks, with factors of
 * some rank to correct it; or it is rounded to int8 with a scale for each output, to be multiplied
 * by inputs of 8 bits.
 */
export type StoredAs =
  | { readonly kind: 'dense' }
  | { readonly kind: 'blocks'; readonly format: BlockFormat; readonly rank: number }
  | { readonly kind: 'channels' };

/** The same, with all that is needed to store it. */
export type Stored =
  | Exclude<StoredAs, { kind: 'channels' }>
  | { readonly kind: 'channels'; readonly smoothing?: Smoothing };

/**
 * What the inputs of int8 layers are multiplied by first: the tensor of one of the layers that
 * share it.
 */
export interface Smoothing {
  readonly owner: QuantizedMatrix;
  /** What the columns of the weights are multiplied by. */
  readonly scales: Float32Array;
}

/** The ranks of corrections: more cost more than what they bring. */
export const RANKS = [0, 8, 16, 24, 32, 48] as const;

/** Bytes of a float32, and of a scale for each component of a correction. */
const FLOAT = 4;

/** The bytes of the tensors that stand for a matrix. */
export function storedBytes({ info, m, n }: QuantizedMatrix, stored: Stored): number {
  switch (stored.kind) {
    case 'dense':
      return info.bytes;
    case 'blocks':
      return sizesOf(stored.format, m, n).bytes + correctionBytes(m, n, stored.rank);
    case 'channels':
      return m * n + FLOAT * m + (stored.smoothing?.owner.info.name === info.name ? FLOAT * n : 0);
  }
}

function correctionBytes(m: number, n: number, rank: number): number {
  return rank * (m + n + FLOAT);
}

/**
 * Blocks that are worth their measurement: with few bits the scales of small ones pay, with many
 * they do not.
 */
const BLOCKS: Readonly<Record<CodeBits, readonly BlockSize[]>> = {
  2: [16, 32, 64],
  4: [16, 32, 64, 128, 256],
  8: [16, 32, 128],
};

/** Returns the formats in which a matrix can be stored, from few bits to many. */
export function formatsFor(matrix: QuantizedMatrix, bits: readonly CodeBits[] = CODE_BITS): BlockFormat[] {
  return bits.flatMap((each) =>
    BLOCKS[each]
      .filter((block) => fits(matrix, block))
      .map((block): BlockFormat => ({ bits: each, block, symmetric: true, scales: 'F16' })),
  );
}

/** What a report says of it. */
export function plainly(stored: Stored): StoredAs {
  return stored.kind === 'channels' ? { kind: 'channels' } : stored;
}

/** The share of codes that may stand beyond the last input. */
const PADDING = 0.15;

/** Whether blocks end about where the inputs do; rows that are looked up have whole blocks. */
function fits({ use, n }: QuantizedMatrix, block: number): boolean {
  const padded = Math.ceil(n / block) * block;
  return use === 'lookup' ? padded === n : block === 16 || padded <= (1 + PADDING) * n;
}

/** Returns a name for people, such as `4 bits/32 + rank 16`. */
export function describeStored(stored: Stored): string {
  if (stored.kind === 'dense') return 'dense';
  if (stored.kind === 'channels') return 'int8';
  const { bits, block, symmetric } = stored.format;
  const rank = stored.rank > 0 ? ` + rank ${stored.rank}` : '';
  return `${bits} bits/${block}${symmetric ? '' : ' zeros'}${rank}`;
}
