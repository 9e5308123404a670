import { createHash } from 'node:crypto';
import { ArgumentError } from '../errors.js';
import { matmul } from '../linalg/matmul.js';
import type { Svd } from '../linalg/svd.js';
import { rankOfFraction, rankOfRate } from '../lowrank/rank.js';
import { drawn } from '../random.js';
import type { Amount, InterventionKind } from './spec.js';

/** The interventions that keep some singular components of a matrix, of the largest singular value first. */
const COMPONENT_KINDS = ['rank-reduction', 'bottom', 'band', 'random'] as const;
export type ComponentKind = (typeof COMPONENT_KINDS)[number];

export function keepsComponents(kind: InterventionKind): kind is ComponentKind {
  return (COMPONENT_KINDS as readonly string[]).includes(kind);
}

/** How many components stay, of `full` = min(m, n). */
export function componentCount(kind: ComponentKind, amount: Amount, full: number): number {
  if (kind === 'band') {
    const [from, to] = bandOf(amount, full);
    return to - from;
  }
  if ('rate' in amount) return rankOfRate(amount.rate, full);
  if ('band' in amount) throw new ArgumentError('amount', `one share for ${kind}`, amount.band);
  return rankOfFraction(amount.rankFraction, full);
}

/**
 * Which components stay, ascending; 0 is that of the largest singular value. k is {@link componentCount}.
 *
 * - `rank-reduction`: the first k, the best approximation of rank k.
 * - `bottom`: the last k, what a rank reduction of share 1 - rho takes away (Sharma, Ash and Misra 2023, figure 5).
 * - `band`: from floor(from full) up to, and without, floor(to full).
 * - `random`: k drawn without replacement, the control for the others. The same for the same seed, matrix and size; of
 *   another matrix, other ones, so that one draw does not decide for a whole model.
 *
 * @param matrix what the matrix is called; a 3D tensor's matrices share a draw
 */
export function keptComponents(
  kind: ComponentKind,
  amount: Amount,
  full: number,
  { seed = 0, matrix }: { readonly seed?: number | undefined; readonly matrix: string },
): Uint32Array {
  const count = componentCount(kind, amount, full);
  if (kind === 'random') return Uint32Array.from(drawn(full, seedOfMatrix(seed, matrix), count)).sort();
  const first = kind === 'bottom' ? full - count : kind === 'band' ? bandOf(amount, full)[0] : 0;
  return Uint32Array.from({ length: count }, (_, i) => first + i);
}

/** The sum of some components, s_i u_i v_i^T: [m, n], row-major; of a batch, of each matrix. */
export async function recompose({ u, s, vt }: Svd, kept: Uint32Array, threads?: number): Promise<Float32Array> {
  const [m, full] = u.shape.slice(-2) as [number, number];
  const n = vt.shape.at(-1)!;
  const batch = u.data.length / (m * full);
  const k = kept.length;
  const out = new Float32Array(batch * m * n);
  if (k === 0) return out;
  const left = new Float32Array(m * k);
  const right = new Float32Array(k * n);
  for (let item = 0; item < batch; item++) {
    for (let row = 0; row < m; row++) {
      const from = (item * m + row) * full;
      for (let j = 0; j < k; j++) left[row * k + j] = u.data[from + kept[j]!]! * s.data[item * full + kept[j]!]!;
    }
    for (let j = 0; j < k; j++) {
      const from = (item * full + kept[j]!) * n;
      right.set(vt.data.subarray(from, from + n), j * n);
    }
    const product = await matmul({ data: left, shape: [m, k] }, { data: right, shape: [k, n] }, { threads });
    out.set(product.data, item * m * n);
  }
  return out;
}

/** A whole number of 48 bits, for each seed and matrix another one. */
function seedOfMatrix(seed: number, matrix: string): number {
  return createHash('sha256').update(`${seed} ${matrix}`).digest().readUIntBE(0, 6);
}

function bandOf(amount: Amount, full: number): [from: number, to: number] {
  if (!('band' in amount)) throw new ArgumentError('amount', 'two shares, such as 0.1-0.5, for band', amount);
  const [from, to] = amount.band;
  return [rankOfFraction(from, full), rankOfFraction(to, full)];
}
