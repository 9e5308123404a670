import { addon } from '../../dist/addon/load.js';
import { matmulSync } from '../../dist/index.js';

export { versions } from './lowrank.mjs';

/**
 * Prepares the addon's gemm into an existing array, like the C program's, or the public
 * `matmulSync`, which allocates its result.
 *
 * @param {import('../types.js').Sizes} sizes
 * @param {Float32Array} data
 * @param {string} variant
 * @returns {import('../types.js').Prepared<any>}
 */
export function prepare({ m, n, k, threads }, data, variant) {
  const a = data.subarray(0, m * k);
  const b = data.subarray(m * k);
  if (variant === 'matmul') {
    return {
      run: () => matmulSync({ data: a, shape: [m, k] }, { data: b, shape: [k, n] }, { threads }),
      numbers: (product) => product.data,
    };
  }
  const c = new Float32Array(m * n);
  const { gemm } = addon();
  const job = { batch: 1, m, n, k, transposeA: false, transposeB: false, a, b, c, threads };
  return { run: () => gemm(job), numbers: () => c };
}
