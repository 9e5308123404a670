import { createHash } from 'node:crypto';
import { estimateMemory } from '../../lowrank/estimate.js';
import { drawn } from '../../random.js';
import { elements } from '../../tensor/tensor.js';
import { type Amount, BAND, COUNT, countOfShare, limitsOfBand } from '../amount.js';
import { recompose } from '../recompose.js';
import type { Kind, Resolved } from './kind.js';

/** The kinds that keep other singular components than the first: LASER's ablations. */

const COMPONENTS = {
  isBest: false,
  isRandom: false,
  onlyZeros: false,
  findsNotFinite: false,
  keptInWords: '',
  cost: costOfDecomposition,
  memory: ({ shape, rank }, { threads }) => {
    // Counts all singular components, a copy of the kept ones, and the matrix that they give.
    const [m, n] = shape.slice(-2) as [number, number];
    const numbers = elements(shape);
    const components = (numbers / (m * n)) * Math.min(m, n) * (m + n + 1);
    const whole = estimateMemory(shape, { rank: Math.max(rank!, 1), method: 'exact', threads, result: 'dense' });
    return whole.worst + 4 * (2 * components + numbers);
  },
  async apply({ name, shape, amount }, data, decomposer) {
    const { seed, threads } = decomposer;
    const parts = await decomposer.svd({ data, shape });
    const kept = this.keeps!(amount, Math.min(...shape.slice(-2)), { seed: seed ?? 0, matrix: name });
    return { data: await recompose(parts, kept, threads), certified: undefined };
  },
} satisfies Partial<Kind> & ThisType<Kind>;

/**
 * The last k components, which a rank reduction of share 1 - rho removes (Sharma, Ash and Misra
 * 2023, figure 5).
 */
export const bottom = {
  ...COMPONENTS,
  kind: 'bottom',
  amount: COUNT,
  resolve: (amount, [m, n]) => resolvedComponents(countOfShare('bottom', amount, Math.min(m, n)), m, n),
  keeps: (amount, full) => {
    const count = countOfShare('bottom', amount, full);
    return places(full - count, count);
  },
} as const satisfies Kind;

/** Components from floor(from full) up to, but not including, floor(to full). */
export const band = {
  ...COMPONENTS,
  kind: 'band',
  amount: BAND,
  resolve: (amount, [m, n]) => {
    const [from, to] = limitsOfBand(amount, Math.min(m, n));
    return resolvedComponents(to - from, m, n);
  },
  keeps: (amount, full) => {
    const [from, to] = limitsOfBand(amount, full);
    return places(from, to - from);
  },
} as const satisfies Kind;

/**
 * k components drawn without replacement, as a control for the other kinds. The draw is the same
 * for the same seed, matrix and size. Other matrices get other draws, so that one draw does not
 * decide for a whole model. The matrices of a 3D tensor share a draw.
 */
export const random = {
  ...COMPONENTS,
  kind: 'random',
  amount: COUNT,
  isRandom: true,
  resolve: (amount, [m, n]) => resolvedComponents(countOfShare('random', amount, Math.min(m, n)), m, n),
  keeps: (amount: Amount, full: number, { seed = 0, matrix }: { readonly seed?: number; readonly matrix: string }) => {
    return Uint32Array.from(drawn(full, seedOfMatrix(seed, matrix), countOfShare('random', amount, full))).sort();
  },
} as const satisfies Kind;

/**
 * Estimates the cost: a decomposition of m x n takes a multiple of m n min(m, n) operations (Golub
 * and Van Loan, Matrix Computations, section 8.6).
 */
export function costOfDecomposition(shape: readonly number[]): number {
  return elements(shape) * Math.min(...shape.slice(-2));
}

export function resolvedComponents(rank: number, m: number, n: number): Resolved {
  return { rank, threshold: undefined, identity: rank === Math.min(m, n) };
}

/** Returns `count` indexes from `first` on. */
export function places(first: number, count: number): Uint32Array {
  return Uint32Array.from({ length: count }, (_, i) => first + i);
}

/** Returns a 48-bit integer that differs for each seed and matrix. */
function seedOfMatrix(seed: number, matrix: string): number {
  return createHash('sha256').update(`${seed} ${matrix}`).digest().readUIntBE(0, 6);
}
