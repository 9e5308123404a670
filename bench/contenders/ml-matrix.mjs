import { readFileSync } from 'node:fs';
import { Matrix, SingularValueDecomposition } from 'ml-matrix';

/**
 * Makes its float64 matrices before the clock starts.
 *
 * @param {import('../types.js').Sizes} sizes
 * @param {Float32Array} data
 * @returns {import('../types.js').Prepared<Matrix[]>}
 */
export function prepare({ batch, m, n, k }, data) {
  const matrices = Array.from({ length: batch }, (_, i) =>
    Matrix.from1DArray(m, n, data.subarray(i * m * n, (i + 1) * m * n)),
  );
  return {
    run: () => matrices.map((w) => truncated(w, k)),
    numbers: (results) => Float32Array.from(results.flatMap((w) => w.to1DArray())),
  };
}

/**
 * @param {Matrix} w
 * @param {number} k
 */
function truncated(w, k) {
  const svd = new SingularValueDecomposition(w, { autoTranspose: true });
  const u = svd.leftSingularVectors.subMatrix(0, w.rows - 1, 0, k - 1);
  const v = svd.rightSingularVectors.subMatrix(0, w.columns - 1, 0, k - 1);
  return u.mulRowVector(svd.diagonal.slice(0, k)).mmul(v.transpose());
}

export function versions() {
  const file = new URL('../node_modules/ml-matrix/package.json', import.meta.url);
  return { 'ml-matrix': JSON.parse(readFileSync(file, 'utf8')).version, node: process.versions.node };
}
