import { matmul } from '../linalg/matmul.js';
import type { Svd } from '../linalg/svd.js';

/**
 * Computes the sum of some components, s_i u_i v_i^T: [m, n], row-major; for a batch, one sum for
 * each matrix.
 */
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
