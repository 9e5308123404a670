// The targets: at least this many times the speed of a rival, with a result as good as the best.

/** @import { Result, Verdict } from './types.js' */

import { C_GEMM, LASER, ML_MATRIX, OUR_GEMM, OURS, TORCH, ZETA } from './contenders.mjs';

const EXCESS = 1e-6;

/**
 * If a target names several tasks, each has to reach it.
 *
 * @type {{ against: string, atLeast?: number, within?: number, tasks: string[] }[]}
 */
const TARGETS = [
  { against: TORCH, atLeast: 80, tasks: ['4096x4096 decaying rho 0.01'] },
  { against: TORCH, atLeast: 25, tasks: ['4096x4096 decaying rho 0.1'] },
  { against: TORCH, atLeast: 6, tasks: ['4096x4096 gaussian rho 0.1'] },
  { against: TORCH, atLeast: 60, tasks: ['16384x4096 decaying rho 0.01'] },
  { against: TORCH, atLeast: 6, tasks: ['768x3072 decaying rho 0.1'] },
  { against: TORCH, atLeast: 4, tasks: ['512x512 decaying rho 0.9', '512x512 gaussian rho 0.9'] },
  { against: ZETA, atLeast: 6, tasks: ['10x512x512 decaying rho 0.9', '10x512x512 gaussian rho 0.9'] },
  { against: ZETA, atLeast: 8, tasks: ['256x64x64 decaying rho 0.9', '256x64x64 gaussian rho 0.9'] },
  { against: LASER, atLeast: 1, tasks: ['4096x4096 decaying rho 0.1', '4096x4096 decaying rho 0.01'] },
  { against: ML_MATRIX, atLeast: 10, tasks: ['64x64 decaying rho 0.5'] },
  { against: ML_MATRIX, atLeast: 30, tasks: ['256x256 decaying rho 0.5'] },
  {
    against: 'the bound',
    within: 4,
    tasks: [
      '2048x2048 decaying rho 0.01',
      '2048x2048 decaying rho 0.1',
      '4096x4096 decaying rho 0.01',
      '4096x4096 decaying rho 0.1',
      '16384x4096 decaying rho 0.01',
    ],
  },
  {
    against: C_GEMM,
    atLeast: 0.97,
    tasks: ['gemm 512x512x512', 'gemm 1024x1024x1024', 'gemm 2048x2048x2048'],
  },
];

/**
 * Returns one line for each task of each target. A partial run gets only the lines of its tasks.
 *
 * @param {Result[]} results
 * @param {boolean} partial
 */
export function judged(results, partial) {
  const lines = TARGETS.flatMap(({ tasks, ...target }) => tasks.map((id) => judge(target, id, results)));
  return partial ? lines.filter(({ task }) => results.some(({ id }) => id === task)) : lines;
}

/**
 * @param {{ against: string, atLeast?: number, within?: number }} target
 * @param {string} id
 * @param {Result[]} results
 * @returns {Verdict}
 */
function judge({ against, atLeast, within }, id, results) {
  const result = results.find((one) => one.id === id);
  const named = (/** @type {string} */ name) => result?.rows.find(({ contender }) => contender === name);
  const ours = named(against === C_GEMM ? OUR_GEMM : OURS);
  const measured = within ? result?.bound?.ratio : named(against)?.ratio;
  const line = { task: id, against, ...(within ? { within } : { atLeast }), measured, excess: ours?.excess };
  if (measured === undefined) return { ...line, verdict: 'not measured' };
  const fast = within ? measured <= within : measured >= (atLeast ?? 0);
  const good = result?.op === 'gemm' || (ours?.excess ?? Number.POSITIVE_INFINITY) <= EXCESS;
  return { ...line, verdict: fast && good ? 'reached' : good ? 'not reached' : 'not reached: excess' };
}
