import { type BlockFormat, type BlockSize, CODE_BITS, type CodeBits, rowBlock, sizesOf } from './block-format.js';
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

/**
 * Bytes of a scale for each component of a correction, and of one for each output or input of int8.
 */
const [FLOAT, HALF] = [4, 2] as const;

/** The bytes of the tensors that stand for a matrix. */
export function codedBytes({ info, m, n, use }: QuantizedMatrix, coded: Coded): number {
  if (coded.kind === 'blocks') {
    return sizesOf(coded.format, m, n, use === 'linear').bytes + coded.rank * (m + n + FLOAT);
  }
  return m * n + HALF * m + (coded.smoothing?.owner.info.name === info.name ? HALF * n : 0);
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
  const { use, n } = matrix;
  const format = (each: CodeBits, block: BlockSize, symmetric: boolean): BlockFormat[] =>
    fits(matrix, each, block) ? [{ bits: each, block, symmetric, scales: 'F16' }] : [];
  return bits.flatMap((each) => [
    ...BLOCKS[each].filter((block) => use === 'linear' || block < n).flatMap((block) => format(each, block, true)),
    ...(use === 'linear' ? WITH_ZEROS.filter(([own]) => own === each) : []).flatMap(([, block]) =>
      format(each, block, false),
    ),
    // 8 bits have codes to spare, so one scale serves a row that is looked up.
    ...(use === 'lookup' && each === 8 ? [rowBlock(n) ?? []].flat() : []).flatMap((block) => format(each, block, true)),
  ]);
}

/** The share of codes that may stand beyond the last input. */
const PADDING = 0.15;

/**
 * Whether blocks end about where the inputs do. The last block of a row that is looked up may be
 * smaller, but rows take whole bytes.
 */
function fits({ use, n }: QuantizedMatrix, bits: CodeBits, block: number): boolean {
  if (use === 'lookup') return (n * bits) % 8 === 0;
  return block === 16 || Math.ceil(n / block) * block <= (1 + PADDING) * n;
}

/**
 * Returns a name for people, such as `4 bits/32 + rank 16`, or `8 bits/row` for one scale a row.
 */
export function describeCoded({ use, n }: Pick<QuantizedMatrix, 'use' | 'n'>, coded: Coded): string {
  if (coded.kind === 'channels') return 'int8';
  const { bits, block, symmetric } = coded.format;
  const rank = coded.rank > 0 ? ` + rank ${coded.rank}` : '';
  return `${bits} bits/${use === 'lookup' && block >= n ? 'row' : block}${symmetric ? '' : ' zeros'}${rank}`;
}
