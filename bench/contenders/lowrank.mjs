import { readFileSync } from 'node:fs';
import { addon } from '../../dist/addon/load.js';
import { laserSync } from '../../dist/index.js';

/**
 * @typedef {import('../../dist/index.js').Method} Method
 *
 * @typedef {ReturnType<typeof laserSync.certified>} Certified
 */

/**
 * Prepares `laserSync`, because the rivals' calls are synchronous too. The variant is the method.
 *
 * @param {import('../types.js').Sizes} sizes
 * @param {Float32Array} data
 * @param {Method} method
 * @returns {import('../types.js').Prepared<Certified>}
 */
export function prepare({ batch, m, n, k, energy, threads }, data, method) {
  const w = { data, shape: batch === 1 ? [m, n] : [batch, m, n] };
  const amount = energy === undefined ? { rank: k } : { energy };
  return {
    run: () => laserSync.certified(w, { ...amount, method, threads }),
    numbers: ({ value }) => value.data,
    note: ({ certificate }) => certificate.method,
  };
}

export function versions() {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const { openblas, kernel, simd } = addon().info();
  return { lowrank: `${version}, ${simd}`, OpenBLAS: `${openblas}, kernel ${kernel}`, node: process.versions.node };
}
