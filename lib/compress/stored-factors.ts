import type { CallOptions } from '../addon/call.js';
import type { NewTensorInfo } from '../checkpoint/checkpoint.js';
import type { LowRank } from '../lowrank/factors.js';
import { interpolate } from '../lowrank/interpolative.js';
import { fromFloat32 } from '../tensor/convert.js';
import type { FloatDType } from '../tensor/dtype.js';
import { factorNames } from './factor-names.js';
import type { Storage } from './ranks.js';
import type { Layer } from './select.js';

/** The tensors that stand for a layer of rank k, without their numbers. */
export function factorTensors({ info, m, n, stem }: Layer, rank: number, storage: Storage): NewTensorInfo[] {
  const [left, right, order] = factorNames(stem);
  const { dtype } = info;
  const first = { name: left, dtype, shape: [n, rank] };
  if (storage === 'factors') return [first, { name: right, dtype, shape: [rank, m] }];
  return [first, { name: right, dtype, shape: [rank, m - rank] }, { name: order, dtype: 'I32', shape: [m] }];
}

/** The bytes of those tensors: for x of a row, y = (x left) right. */
export async function factorBytes(
  factors: LowRank,
  { info, stem }: Layer,
  storage: Storage,
  options: CallOptions,
): Promise<Map<string, Uint8Array>> {
  const [leftName, rightName, orderName] = factorNames(stem);
  const dtype = info.dtype as FloatDType;
  const numbers = (data: Float32Array, rows: number, columns: number) =>
    fromFloat32(transposed(data, rows, columns), dtype);
  const [m, n] = factors.shape as [number, number];
  const k = factors.rank;
  if (storage === 'factors') {
    const { b, a } = balanced(factors);
    return new Map([
      [leftName, numbers(a, k, n)],
      [rightName, numbers(b, m, k)],
    ]);
  }
  const { pivots, coefficients, order } = await interpolate(factors, options);
  const places = new Int32Array(m);
  for (const [j, row] of order.entries()) places[row] = j;
  return new Map([
    [leftName, numbers(pivots.data, k, n)],
    [rightName, numbers(coefficients.data, m - k, k)],
    [orderName, new Uint8Array(places.buffer)],
  ]);
}

/** The least share of the largest singular value that a component is scaled by. */
const LEAST_SHARE = 1e-4;

/**
 * Shares the singular values out to both factors. The i-th number between them then has a root mean
 * square of sqrt(s_i) instead of s_i: kernels for 8-bit integers use one scale for all of them,
 * which a dominating first component would spoil.
 */
function balanced({ b, a, singularValues: { data: s }, rank: k, shape }: LowRank): {
  b: Float32Array;
  a: Float32Array;
} {
  const [m, n] = shape as [number, number];
  const floor = LEAST_SHARE * (s[0] ?? 0);
  const scales = Float32Array.from(s, (value) => Math.sqrt(Math.max(value, floor)) || 1);
  const wide = b.data.slice();
  for (let i = 0; i < m; i++) for (let j = 0; j < k; j++) wide[i * k + j]! *= scales[j]!;
  const long = a.data.slice();
  for (let j = 0; j < k; j++) for (let i = 0; i < n; i++) long[j * n + i]! /= scales[j]!;
  return { b: wide, a: long };
}

/** A matrix with rows and columns exchanged. */
export function transposed(data: Float32Array, rows: number, columns: number): Float32Array {
  const result = new Float32Array(data.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j]!;
  return result;
}
