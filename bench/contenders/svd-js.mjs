import { readFileSync } from 'node:fs';
import { SVD } from 'svd-js';

/** It takes tall matrices as arrays of rows; they are made before the clock starts. A wide one is transposed. */
export function prepare({ batch, m, n, k }, data) {
  const tall = m >= n;
  const [rows, columns] = tall ? [m, n] : [n, m];
  const entry = tall ? (i, j) => i * n + j : (i, j) => j * n + i;
  const matrices = Array.from({ length: batch }, (_, index) =>
    Array.from({ length: rows }, (_, i) =>
      Array.from({ length: columns }, (_, j) => data[index * m * n + entry(i, j)]),
    ),
  );
  return {
    run: () => matrices.map((w) => truncated(w, k)),
    numbers: (results) => {
      const all = new Float32Array(batch * m * n);
      results.forEach((result, index) => {
        for (let i = 0; i < rows; i++) {
          for (let j = 0; j < columns; j++) all[index * m * n + entry(i, j)] = result[i][j];
        }
      });
      return all;
    },
  };
}

/** Its singular values come in any order; it has no product of matrices. */
function truncated(w, k) {
  const { u, q, v } = SVD(w);
  const largest = q.map((_, i) => i).sort((a, b) => q[b] - q[a]);
  const kept = largest.slice(0, k);
  const right = kept.map((p) => Float64Array.from(v, (row) => row[p] * q[p]));
  return u.map((row) => {
    const sum = new Float64Array(w[0].length);
    kept.forEach((p, i) => {
      const [scale, vector] = [row[p], right[i]];
      for (let j = 0; j < sum.length; j++) sum[j] += scale * vector[j];
    });
    return sum;
  });
}

export function versions() {
  const file = new URL('../node_modules/svd-js/package.json', import.meta.url);
  return { 'svd-js': JSON.parse(readFileSync(file, 'utf8')).version, node: process.versions.node };
}
