import { readFileSync } from 'node:fs';
import { SVD } from 'svd-js';

/**
 * Makes its matrices before the clock starts: tall ones as arrays of rows. Wide ones are
 * transposed.
 *
 * @param {import('../types.js').Sizes} sizes
 * @param {Float32Array} data
 * @returns {import('../types.js').Prepared<Float64Array[][]>}
 */
export function prepare({ batch, m, n, k }, data) {
  const tall = m >= n;
  const [rows, columns] = tall ? [m, n] : [n, m];
  const entry = (/** @type {number} */ i, /** @type {number} */ j) => (tall ? i * n + j : j * n + i);
  const matrices = Array.from({ length: batch }, (_, index) =>
    Array.from({ length: rows }, (_, i) =>
      Array.from({ length: columns }, (_, j) => data[index * m * n + entry(i, j)] ?? Number.NaN),
    ),
  );
  return {
    run: () => matrices.map((w) => truncated(w, k)),
    numbers: (results) => {
      const all = new Float32Array(batch * m * n);
      results.forEach((result, index) => {
        for (const [i, row] of result.entries()) {
          for (const [j, value] of row.entries()) all[index * m * n + entry(i, j)] = value;
        }
      });
      return all;
    },
  };
}

/**
 * Sorts the singular values, which come in any order, and multiplies the factors, because it has no
 * product of matrices.
 *
 * @param {number[][]} w
 * @param {number} k
 */
function truncated(w, k) {
  const { u, q, v } = SVD(w);
  const largest = [...q.entries()].sort(([, a], [, b]) => b - a).slice(0, k);
  const kept = largest.map(([p, sigma]) => ({ p, vector: Float64Array.from(v, (row) => (row[p] ?? 0) * sigma) }));
  return u.map((row) => {
    const sum = new Float64Array(v.length);
    for (const { p, vector } of kept) {
      const scale = row[p] ?? 0;
      for (const [j, value] of vector.entries()) sum[j] = (sum[j] ?? 0) + scale * value;
    }
    return sum;
  });
}

export function versions() {
  const file = new URL('../node_modules/svd-js/package.json', import.meta.url);
  return { 'svd-js': JSON.parse(readFileSync(file, 'utf8')).version, node: process.versions.node };
}
