/**
 * The part of the contract with the addon that rounds weights to a few bits;
 * native/node/bindings_quantize.cc is the other side.
 */

/** Codes of ways to round to blocks: `roundings` of the addon. */
export const ROUNDING_CODE = { spanning: 0, nearest: 1, compensated: 2 } as const;

/**
 * Second moments that weigh the errors of an m x n matrix, as those of an approximation; not those
 * of the outputs.
 */
interface InputMoments {
  moments?: Float64Array;
  momentsKind?: number;
}

/**
 * Rounds `w` (m x n) to codes of `bits` in blocks of `block` numbers of a row, each with a scale.
 */
export interface QuantizeBlocksJob extends InputMoments {
  m: number;
  n: number;
  w: Float32Array;
  /** 2, 4 or 8. */
  bits: number;
  /** A multiple of 16. */
  block: number;
  /** The zero point is the middle of all codes. */
  symmetric: boolean;
  /** Scales are representable in float16. */
  half: boolean;
  /** A code of {@link ROUNDING_CODE}; `compensated` needs moments of all inputs. */
  rounding: number;
  /** What is added to each moment of `compensated`, as a share of their mean. */
  damping: number;
  /** How often `compensated` goes over all codes again. */
  sweeps: number;
  /**
   * m x blocks x block * bits / 8, packed from the lowest bits of a byte on; blocks = ceil(n /
   * block).
   */
  codes: Uint8Array;
  /** m x blocks. */
  scales: Float32Array;
  /** m x ceil(blocks * bits / 8), packed alike, unless symmetric. */
  zeros?: Uint8Array;
  /** The numbers that they stand for, m x n. */
  dense?: Float32Array;
}

/** Rounds `w` (m x n) to int8 with a scale for each row. */
export interface QuantizeChannelsJob {
  m: number;
  n: number;
  w: Float32Array;
  /** n x m: int8, transposed. */
  codes: Uint8Array;
  /** m. */
  scales: Float32Array;
}

/** tr(E C E^T) of `e` (m x n) by moments C of the inputs, or the sum of squares. */
export interface WeightedSquaresJob extends InputMoments {
  m: number;
  n: number;
  e: Float32Array;
  /** The only element gets the result. */
  out: Float64Array;
}
