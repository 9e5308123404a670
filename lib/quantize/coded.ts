import { type BlockFormat, type BlockSize, CODE_BITS, type CodeBits, sizesOf } from './block-format.js';
import type { QuantizedMatrix } from './matrix.js';

/**
 * A matrix as whole numbers of few bits: codes in blocks, with factors of some rank that correct
 * their error; or int8 with a scale for each output, which is multiplied by inputs of 8 bits.
 */
export type Coded =
  | { readonly kind: 'blocks'; readonly format: BlockFormat; readonly rank: number }
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
export function codedBytes({ info, m, n }: QuantizedMatrix, coded: Coded): number {
  if (coded.kind === 'blocks') return sizesOf(coded.format, m, n).bytes + coded.rank * (m + n + FLOAT);
  return m * n + FLOAT * m + (coded.smoothing?.owner.info.name === info.name ? FLOAT * n : 0);
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

/**
 * Formats with zero points that are worth it: with 4 bits and small blocks they lose 4 to 10 % less
 * than others of the same size; with 2 bits, and with large blocks, next to nothing (measured on
 * the layers of MiniLM).
 */
const WITH_ZEROS: readonly (readonly [CodeBits, BlockSize])[] = [
  [4, 16],
  [4, 32],
];

/** Returns the formats in which a matrix can be stored, from few bits to many. */
export function formatsFor(matrix: QuantizedMatrix, bits: readonly CodeBits[] = CODE_BITS): BlockFormat[] {
  const format = (each: CodeBits, block: BlockSize, symmetric: boolean): BlockFormat[] =>
    fits(matrix, block) ? [{ bits: each, block, symmetric, scales: 'F16' }] : [];
  return bits.flatMap((each) => [
    ...BLOCKS[each].flatMap((block) => format(each, block, true)),
    ...(matrix.use === 'linear' ? WITH_ZEROS : []).flatMap(([own, block]) =>
      own === each ? format(each, block, false) : [],
    ),
  ]);
}

/** The share of codes that may stand beyond the last input. */
const PADDING = 0.15;

/** Whether blocks end about where the inputs do; rows that are looked up have whole blocks. */
function fits({ use, n }: QuantizedMatrix, block: number): boolean {
  const padded = Math.ceil(n / block) * block;
  return use === 'lookup' ? padded === n : block === 16 || padded <= (1 + PADDING) * n;
}

/** Returns a name for people, such as `4 bits/32 + rank 16`. */
export function describeCoded(coded: Coded): string {
  if (coded.kind === 'channels') return 'int8';
  const { bits, block, symmetric } = coded.format;
  const rank = coded.rank > 0 ? ` + rank ${coded.rank}` : '';
  return `${bits} bits/${block}${symmetric ? '' : ' zeros'}${rank}`;
}
