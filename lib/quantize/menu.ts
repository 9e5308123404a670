import { type Choice, menuFrom } from '../compress/menus.js';
import { factorize } from '../lowrank/factorize.js';
import type { BlockFormat } from './block-format.js';
import { RANKS, type Stored, storedBytes } from './choices.js';
import { difference } from './corrected.js';
import type { QuantizedMatrix } from './matrix.js';
import type { MatrixSource } from './matrix-source.js';
import { quantizeBlocks, weightedSquares } from './quantize-matrix.js';

/**
 * One way to store a matrix: its exact bytes, and the share of its outputs' mean square that it
 * loses.
 */
export interface StoredChoice extends Choice {
  readonly stored: Stored;
}

export interface MenuOptions {
  readonly formats: readonly BlockFormat[];
  /** Whether factors may correct the error of rounding. */
  readonly corrections: boolean;
}

/**
 * Measures what the ways to store a matrix lose. One decomposition of the error of a format has the
 * losses with corrections of all ranks: what its singular values leave.
 *
 * @returns those that no other beats, from the smallest on; the last is dense and loses nothing
 */
export async function menuOf(
  matrix: QuantizedMatrix,
  source: MatrixSource,
  { formats, corrections }: MenuOptions,
): Promise<StoredChoice[]> {
  const { m, n, use } = matrix;
  const w = await source.weight(matrix);
  const options = { ...source.compute, moments: await source.moments(matrix) };
  const energy = await weightedSquares(w, options);
  const dense: Stored = { kind: 'dense' };
  const choices: StoredChoice[] = [{ stored: dense, size: storedBytes(matrix, dense), loss: 0 }];
  const most = Math.min(RANKS.at(-1)!, m, n);
  for (const format of formats) {
    // With 8 bits, compensation gains next to nothing.
    const rounding = format.bits === 8 ? 'nearest' : undefined;
    const quantized = await quantizeBlocks(w, format, { ...options, rounding });
    const error = { data: difference(w.data, quantized.dense), shape: w.shape };
    let left = await weightedSquares(error, options);
    // 8 bits lose too little for a correction to be worth its bytes.
    const corrected = corrections && use === 'linear' && format.bits < 8 && left > 0;
    const ranks = corrected ? RANKS.filter((rank) => rank <= most) : [0];
    const [, second] = ranks;
    const values = second === undefined ? [] : await componentsOf(error, most, options);
    let taken = 0;
    for (const rank of ranks) {
      for (; taken < rank; taken++) left -= values[taken]! ** 2;
      const stored: Stored = { kind: 'blocks', format, rank };
      choices.push({ stored, size: storedBytes(matrix, stored), loss: energy > 0 ? Math.max(0, left / energy) : 0 });
    }
  }
  return menuFrom(choices);
}

async function componentsOf(
  error: Parameters<typeof factorize>[0],
  rank: number,
  { signal, threads, moments }: Parameters<typeof weightedSquares>[1] & {},
): Promise<Float32Array> {
  const compute = { ...(signal && { signal }), ...(threads !== undefined && { threads }) };
  return (await factorize(error, { ...compute, rank, moments })).singularValues.data;
}
