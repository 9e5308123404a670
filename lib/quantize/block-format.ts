import { ArgumentError } from '../errors.js';

/** The bits of a code that ONNX Runtime's MatMulNBits multiplies by. */
export const CODE_BITS = [2, 4, 8] as const;
export type CodeBits = (typeof CODE_BITS)[number];
/** The numbers of a row that share a scale. */
const BLOCK_SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096] as const;
export type BlockSize = (typeof BLOCK_SIZES)[number];

/** Weights as whole numbers of a few bits, in blocks along the inputs that share a scale. */
export interface BlockFormat {
  readonly bits: CodeBits;
  readonly block: BlockSize;
  /** Whether the zero point is the middle of all codes; otherwise each block stores its own. */
  readonly symmetric: boolean;
  /** The type in which scales are stored. */
  readonly scales: 'F32' | 'F16';
}

/** The tensors of an m x n matrix in a format: how many numbers each has, and the bytes of all. */
export interface BlockSizes {
  readonly blocks: number;
  readonly codes: number;
  readonly scales: number;
  /** 0 where zero points are not stored. */
  readonly zeros: number;
  readonly bytes: number;
}

/** @throws ArgumentError for bits and blocks that no program multiplies by. */
export function checkFormat({ bits, block }: BlockFormat): void {
  if (!CODE_BITS.includes(bits)) throw new ArgumentError('bits', `one of ${CODE_BITS.join(', ')}`, bits);
  if (!BLOCK_SIZES.includes(block)) throw new ArgumentError('block', `one of ${BLOCK_SIZES.join(', ')}`, block);
}

/** Returns the smallest block that holds a row of n numbers; undefined where none does. */
export function rowBlock(n: number): BlockSize | undefined {
  return BLOCK_SIZES.find((block) => block >= n);
}

/**
 * Returns how much an m x n matrix takes.
 *
 * @param padded whether codes fill the last block of a row, as MatMulNBits reads them
 */
export function sizesOf(format: BlockFormat, m: number, n: number, padded = true): BlockSizes {
  const { bits, block, symmetric, scales: type } = format;
  const blocks = Math.ceil(n / block);
  const codes = (m * (padded ? blocks * block : n) * bits) / 8;
  const scales = m * blocks;
  const zeros = symmetric ? 0 : m * Math.ceil((blocks * bits) / 8);
  return { blocks, codes, scales, zeros, bytes: codes + zeros + scales * (type === 'F16' ? 2 : 4) };
}
