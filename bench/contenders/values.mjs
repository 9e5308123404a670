import { singularValuesSync } from '../../dist/index.js';

export { versions } from './lowrank.mjs';

/**
 * Prepares the singular values alone.
 *
 * @param {import('../types.js').Sizes} sizes
 * @param {Float32Array} data
 * @returns {import('../types.js').Prepared<any>}
 */
export function prepare({ m, n, threads }, data) {
  const w = { data, shape: [m, n] };
  return { run: () => singularValuesSync(w, { threads }), numbers: (values) => values.data };
}
