import type { CallOptions } from '../addon/call.js';
import { matmul } from '../linalg/matmul.js';
import type { Moments } from '../lowrank/moments.js';
import type { PlainTensor } from '../tensor/tensor.js';

/** Moments that weigh the columns of a matrix: those of what it multiplies. */
export type InputMoments = Moments & { readonly kind: 'inputs' | 'diagonal' };

/**
 * Returns the mean of |D x|^2 over the vectors x whose moments C are given, tr(D C D^T); without
 * moments |D|^2, the sum of squares. Summed in float64.
 *
 * @param d - [m, n]
 */
export async function weightedEnergy(
  d: PlainTensor,
  moments: InputMoments | undefined,
  options: CallOptions,
): Promise<number> {
  const { data } = d;
  if (moments?.kind === 'inputs') {
    const n = d.shape[1]!;
    const weighted = await matmul(d, { data: Float32Array.from(moments.second), shape: [n, n] }, options);
    // A sum of squares, but for rounding.
    return Math.max(
      0,
      sum(data, (value, i) => value * weighted.data[i]!),
    );
  }
  if (moments === undefined) return sum(data, (value) => value * value);
  const { second } = moments;
  return sum(data, (value, i) => value * value * second[i % second.length]!);
}

function sum(data: Float32Array, term: (value: number, i: number) => number): number {
  let total = 0;
  for (let i = 0; i < data.length; i++) total += term(data[i]!, i);
  return total;
}
