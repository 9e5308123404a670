import { callSync } from '../addon/call.js';
import { addon } from '../addon/load.js';
import { matmulSync } from '../linalg/matmul.js';
import type { LowRank } from '../lowrank/factors.js';
import { normal, uniform } from '../random.js';
import type { PlainTensor } from '../tensor/tensor.js';

/**
 * The factors of `Lora`: `a` [dim, r] and `b` [r, dimOut], for rows x that become x A B. PEFT's
 * have the opposite orientation, see `PeftFactors`.
 */
export interface LoraFactors {
  readonly a: PlainTensor;
  readonly b: PlainTensor;
}

/**
 * How a new adapter is initialised:
 * - `gaussian`: both factors standard normal, as in the zeta library's `Lora`. The map is not zero.
 * - `zero`: B zero, so that the map is zero, and A uniform in +-1 / sqrt(dim) (He et al. 2015 with
 *   PyTorch's a = sqrt(5)), as in PEFT.
 */
export type LoraInit = 'gaussian' | 'zero';
export const INITS: readonly LoraInit[] = ['gaussian', 'zero'];

/** How an adapter is taken from a weight: `pissa` or `olora`. */
export type WeightInit = 'pissa' | 'olora';
export const WEIGHT_INITS: readonly WeightInit[] = ['pissa', 'olora'];

export function randomFactors(init: LoraInit, dim: number, r: number, dimOut: number, seed: number): LoraFactors {
  const next = uniform(seed);
  const a = new Float32Array(dim * r);
  const b = new Float32Array(r * dimOut);
  if (init === 'gaussian') {
    const draw = normal(next);
    for (const factor of [a, b]) for (let i = 0; i < factor.length; i++) factor[i] = draw();
  } else {
    const bound = 1 / Math.sqrt(dim);
    for (let i = 0; i < a.length; i++) a[i] = (2 * next() - 1) * bound;
  }
  return { a: { data: a, shape: [dim, r] }, b: { data: b, shape: [r, dimOut] } };
}

/**
 * Returns the principal part of a weight (PiSSA: Meng, Wang and Zhang 2024, equation 2): A = U
 * sqrt(S / scale), B = sqrt(S / scale) Vt, so that A B scale is the best approximation of the
 * weight of that rank.
 *
 * @param principal - U S and Vt.
 */
export function pissaFactors(principal: LowRank, scale: number): LoraFactors {
  const { b: us, a: vt, singularValues } = principal;
  const r = principal.rank;
  const dimOut = vt.shape[1]!;
  const roots = Float64Array.from(singularValues.data, (s) => Math.sqrt(s / scale));
  // A singular value of 0 has no direction of its own: its column and its row are zero.
  const a = us.data.map((value, i) => (roots[i % r]! > 0 ? value / (roots[i % r]! * scale) : 0));
  const b = vt.data.map((value, i) => value * roots[Math.floor(i / dimOut)]!);
  return { a: { data: a, shape: us.shape }, b: { data: b, shape: vt.shape } };
}

/**
 * Returns OLoRA's factors (Buyukakyuz 2024, equation 3): from the QR decomposition of the weight as
 * PyTorch stores it, [dimOut, dim], the first r columns of Q and rows of R. Here the weight is
 * [dim, dimOut], so B = Q_r' spans its first r rows and A = R_r' is the component of every row
 * along them, W B'.
 */
export function oloraFactors(weight: PlainTensor, r: number, threads: number | undefined): LoraFactors {
  const [, dimOut] = weight.shape as [number, number];
  const b: PlainTensor = { data: weight.data.slice(0, r * dimOut), shape: [r, dimOut] };
  callSync(addon().orthonormaliseRows, { k: r, n: dimOut, a: b.data });
  const a = matmulSync(weight, b, { transposeB: true, threads });
  // R is triangular; the product leaves rounding errors there.
  for (let i = 0; i < r; i++) a.data.fill(0, i * r + i + 1, (i + 1) * r);
  return { a, b };
}
