import { digestOf } from '../files/journal.js';
import { factorize } from '../lowrank/factorize.js';
import type { BlockFormat } from '../quantize/block-format.js';
import { formatsFor, RANKS } from '../quantize/coded.js';
import { difference } from '../quantize/corrected.js';
import { quantizeBlocks, weightedSquares } from '../quantize/quantize-matrix.js';
import type { Forms } from './forms.js';
import type { Matrix } from './matrices.js';
import type { Measurements } from './measurements.js';
import { ranksFor, type Storage } from './ranks.js';
import { channelsOf } from './smoothings.js';
import { DENSE, type Stored, storedSize } from './stored.js';

/** One way to store a matrix. */
export interface Way {
  readonly stored: Stored;
  /** The exact bytes of its tensors. */
  readonly bytes: number;
  /** The share of the outputs' mean square that is lost. */
  readonly loss: number;
}

export interface MenuOptions {
  readonly storage: Storage;
  /** Whether factors may correct the error of rounding. */
  readonly corrections: boolean;
  /** What the columns are multiplied by before they become int8. */
  readonly smoothing: Float32Array | undefined;
}

/**
 * What determines a measured loss besides the numbers: change it whenever these would come out
 * otherwise.
 */
const METHOD = 'lowrank round 2';

/**
 * Measures what a matrix loses in each way to store it. One decomposition of the weight has the
 * losses of factors of all ranks, one of the error of a format those with corrections: what the
 * singular values leave.
 *
 * @param measurements keeps losses that took rounding to find
 */
export async function menuOf(
  matrix: Matrix,
  forms: Forms,
  measurements: Measurements,
  options: MenuOptions,
): Promise<Way[]> {
  const way = (stored: Stored, loss: number): Way => ({ stored, bytes: storedSize(matrix, stored), loss });
  const ways = [way(DENSE, 0)];
  if (matrix.factors) {
    const { storage } = options;
    const { singularValues } = await forms.factors.factors(matrix, Math.min(matrix.m, matrix.n));
    for (const { rank, loss } of ranksFor(matrix, singularValues.data, storage)) {
      ways.push(way({ kind: 'factors', rank, storage }, loss));
    }
  }
  if (!matrix.codes) return ways;
  const what = { method: METHOD, name: matrix.info.name, weight: await forms.factors.keyOf(matrix) };
  for (const format of formatsFor(matrix)) {
    const ranks = ranksOf(matrix, format, options);
    let found: Promise<number[]> | undefined;
    const losses = () => (found ??= blockLosses(matrix, forms, format, ranks));
    for (const [i, rank] of ranks.entries()) {
      const loss = await measurements.of({ ...what, format, rank }, async () => (await losses())[i]!);
      ways.push(way({ kind: 'blocks', format, rank }, loss));
    }
  }
  // How much int8 loses depends on the inputs.
  if (forms.isWeighted(matrix)) {
    const { smoothing } = options;
    const stored = channelsOf(matrix, smoothing);
    const form = ['int8', ...(smoothing === undefined ? [] : [await digestOf(bytesOf(smoothing))])];
    ways.push(way(stored, await measurements.of({ ...what, form }, () => forms.lossOf(matrix, stored))));
  }
  return ways;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);

/** The ranks of corrections: 8 bits lose too little for one to be worth its bytes. */
function ranksOf({ use, m, n }: Matrix, { bits }: BlockFormat, { corrections }: MenuOptions): readonly number[] {
  return corrections && use === 'linear' && bits < 8 ? RANKS.filter((rank) => rank <= Math.min(m, n)) : [0];
}

/** The share of what a correction makes up for that is lost again, as its factors are int8. */
const ROUNDED_FACTORS = 1e-4;

/** The relative losses of a format with corrections of these ranks, of which the first is 0. */
async function blockLosses(
  matrix: Matrix,
  forms: Forms,
  format: BlockFormat,
  ranks: readonly number[],
): Promise<number[]> {
  const { w, moments, energy } = await forms.known(matrix);
  const options = { ...forms.compute, moments };
  if (!(energy > 0)) return ranks.map(() => 0);
  // With 8 bits, compensation gains next to nothing.
  const rounding = format.bits === 8 ? 'nearest' : undefined;
  const { dense } = await quantizeBlocks(w, format, { ...options, rounding });
  const error = { data: difference(w.data, dense), shape: w.shape };
  const whole = await weightedSquares(error, options);
  const most = ranks.at(-1)!;
  if (most === 0 || whole === 0) return ranks.map(() => whole / energy);
  const { signal, threads } = options;
  const compute = { ...(signal && { signal }), ...(threads !== undefined && { threads }) };
  const { data: values } = (await factorize(error, { ...compute, rank: most, moments })).singularValues;
  return ranks.map((rank) => {
    const taken = values.subarray(0, rank).reduce((sum, value) => sum + value ** 2, 0);
    return (Math.max(0, whole - taken) + ROUNDED_FACTORS * taken) / energy;
  });
}
