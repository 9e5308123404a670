// Words that all results of bench:compress are told in.

/** @import { About } from './types.js' */

import { BUSY } from '../measure.mjs';

export const verdict = (/** @type {boolean} */ reached) => (reached ? 'reached' : 'not reached');
export const megabytes = (/** @type {number} */ bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

/** When and where it was measured. @param {{ about: About }} result */
export function aboutText({ about: { date, minutes, machine, path, threads, versions, busy } }) {
  const { cpu, cores, memoryGiB, system } = machine;
  const listed = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const note = busy > BUSY ? ': too much to trust the times' : '';
  return (
    `${date.slice(0, 10)}, ${minutes} minutes, ${threads} threads. ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; kernels ${path}. ` +
    `Before, other work took ${Math.round(100 * busy)} % of the machine${note}. ${listed.join(', ')}.`
  );
}
