import { LowRankError } from '../errors.js';
import { matmul } from '../linalg/matmul.js';
import type { ComputeOptions } from '../lowrank/approximate.js';
import type { Certificate } from '../lowrank/certificate.js';
import { factorize } from '../lowrank/factorize.js';
import { toFloat32 } from '../tensor/convert.js';
import type { ReadableType, WritableType } from '../tensor/dtype.js';
import type { PlainTensor } from '../tensor/tensor.js';
import { type LoraKind, type LoraModule, storedFactors, transpose } from './adapter.js';
import type { Update } from './assemble.js';

/** How many terms of a difference are kept. */
export type ExtractChoice =
  /** The rank; a matrix with fewer rows or columns gets as many as it has. */
  | { readonly rank: number }
  /** The smallest rank that keeps this share of the difference's energy, above 0 up to 1. */
  | { readonly energy: number };

/** The approximate update that leads from one matrix to another. */
export interface ExtractedUpdate {
  readonly update: Update;
  /** The certificate of the decomposition, before the factors are rounded to their dtype. */
  readonly certificate: Certificate;
  /** The kept ones, in descending order. */
  readonly singularValues: readonly number[];
}

/**
 * Computes the best update of a chosen rank for a difference tuned - base, with its singular values
 * split evenly between the factors.
 *
 * @param difference - [rows, columns] as the weight is stored; not zero
 * @param transposed - whether the weight is stored [in, out]
 * @throws LowRankError as {@link factorize}.
 */
export async function extractUpdate(
  difference: PlainTensor,
  { name, kind, dtype, transposed }: { name: string; kind: LoraKind; dtype: WritableType; transposed: boolean },
  choice: ExtractChoice,
  options: ComputeOptions,
): Promise<ExtractedUpdate> {
  const [m, n] = difference.shape as [number, number];
  const factors =
    'energy' in choice && choice.energy !== undefined
      ? await factorize(difference, { ...options, energy: choice.energy })
      : await factorize(difference, { ...options, rank: Math.min((choice as { rank: number }).rank, m, n) });
  const s = factors.singularValues.data;
  const k = s.length;
  // LowRank keeps the singular values in its left factor.
  const left = { data: factors.b.data.slice(), shape: [m, k] };
  const right = { data: factors.a.data.slice(), shape: [k, n] };
  for (let i = 0; i < left.data.length; i++) {
    const value = s[i % k]!;
    if (value > 0) left.data[i]! /= Math.sqrt(value);
  }
  for (let i = 0; i < right.data.length; i++) right.data[i]! *= Math.sqrt(s[Math.floor(i / n)]!);
  const [b, a] = transposed ? [transpose(right), transpose(left)] : [left, right];
  return { update: { name, kind, dtype, a, b }, certificate: factors.certificate, singularValues: [...s] };
}

/**
 * Measures ||difference - scaling * B A||_F / ||difference||_F of a stored module, in float64; 0
 * for a zero difference.
 *
 * @throws LowRankError `ERR_SHAPE` if the module does not fit.
 */
export async function updateError(
  difference: PlainTensor,
  module: LoraModule,
  transposed: boolean,
  { signal, threads }: ComputeOptions,
): Promise<number> {
  const { left, right } = storedFactors(module, transposed);
  const product = await matmul(left, right, { signal, threads });
  if (product.data.length !== difference.data.length) {
    throw new LowRankError('ERR_SHAPE', `${module.name}: the update does not have the shape of the difference`);
  }
  let energy = 0;
  let lost = 0;
  for (let i = 0; i < product.data.length; i++) {
    energy += difference.data[i]! ** 2;
    lost += (difference.data[i]! - product.data[i]!) ** 2;
  }
  return lost === 0 ? 0 : Math.sqrt(lost / energy);
}

/**
 * Computes tuned - base in float32, in which both are exact. For two stages of one model, whose
 * numbers are close to each other, the difference is mostly exact too (Sterbenz 1974).
 */
export function difference(
  base: { readonly bytes: Uint8Array; readonly dtype: ReadableType },
  tuned: { readonly bytes: Uint8Array; readonly dtype: ReadableType },
): Float32Array {
  const result = toFloat32(tuned.bytes, tuned.dtype);
  const start = toFloat32(base.bytes, base.dtype);
  for (let i = 0; i < result.length; i++) result[i]! -= start[i]!;
  return result;
}
