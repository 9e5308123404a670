import { tensor } from '../../lib/tensor/create.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { normal } from './random.js';

export function gaussian(shape: readonly number[], seed = 1): Tensor {
  const next = normal(seed);
  return tensor(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => next()),
    shape,
  );
}

/** The product of [m, k] and [k, n] normal factors: a matrix of rank k. */
export function ofRank(k: number, m: number, n: number, seed = 1): Tensor {
  const [b, a] = [gaussian([m, k], seed).data, gaussian([k, n], seed + 1).data];
  const data = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += b[i * k + l]! * a[l * n + j]!;
      data[i * n + j] = sum;
    }
  }
  return tensor(data, [m, n]);
}

/** |x - y|_F in float64. */
export function distance(x: ArrayLike<number>, y: ArrayLike<number>): number {
  if (x.length !== y.length) throw new Error(`lengths ${x.length} and ${y.length}`);
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i]! - y[i]!) ** 2;
  return Math.sqrt(sum);
}

export function norm(x: ArrayLike<number>): number {
  return distance(x, new Float64Array(x.length));
}

/** a [m, k] times b [k, n] in float64. */
export function product(a: ArrayLike<number>, b: ArrayLike<number>, m: number, k: number, n: number): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let l = 0; l < k; l++) {
      const x = a[i * k + l]!;
      for (let j = 0; j < n; j++) c[i * n + j]! += x * b[l * n + j]!;
    }
  }
  return c;
}

/**
 * max |x_i - y_i| of the Gram matrix of the rows (or columns) and the identity: how far they are
 * from orthonormal.
 */
export function orthonormality(x: ArrayLike<number>, rows: number, cols: number, of: 'rows' | 'columns'): number {
  const count = of === 'rows' ? rows : cols;
  const length = of === 'rows' ? cols : rows;
  const at = (i: number, j: number) => (of === 'rows' ? x[i * cols + j]! : x[j * cols + i]!);
  let worst = 0;
  for (let p = 0; p < count; p++) {
    for (let q = 0; q <= p; q++) {
      let dot = 0;
      for (let j = 0; j < length; j++) dot += at(p, j) * at(q, j);
      worst = Math.max(worst, Math.abs(dot - (p === q ? 1 : 0)));
    }
  }
  return worst;
}
