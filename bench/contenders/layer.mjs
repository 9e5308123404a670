import { countBeside, sideBySide } from '../../dist/addon/side-by-side.js';
import { approximate } from '../../dist/lowrank/approximate.js';

export { versions } from './lowrank.mjs';

/**
 * Prepares the matrices of a layer, computed as an edit of a checkpoint computes them.
 *
 * @param {import('../types.js').Sizes} sizes
 * @param {Float32Array} data
 * @returns {import('../types.js').Prepared<any>}
 */
export function prepare({ shapes = [], ranks = [], threads }, data) {
  let begin = 0;
  const matrices = shapes.map(([m, n], index) => {
    const part = data.subarray(begin, begin + m * n);
    begin += m * n;
    return { w: { data: part, shape: [m, n] }, rank: ranks[index] ?? 0, index };
  });
  const needs = matrices.map(({ w }) => 12 * w.data.length);
  return {
    run: async () => {
      /** @type {Float32Array[]} */
      const found = [];
      await sideBySide(
        matrices,
        { count: countBeside(needs, threads), threads },
        async ({ w, rank, index }, beside) => {
          const { job } = await approximate(w, { rank, threads, ...beside }, 'dense');
          found[index] = /** @type {Float32Array} */ (job.dense);
        },
      );
      return found;
    },
    numbers: (found) => {
      const all = new Float32Array(data.length);
      let at = 0;
      for (const one of found) {
        all.set(one, at);
        at += one.length;
      }
      return all;
    },
  };
}
