// The targets: at least this many times the speed of a rival, with a result as good as the best.

/** @import { Result, Verdict } from './types.js' */

import { MIDDLE_FRACTIONS, ORDERS } from './cases.mjs';
import { C_GEMM, LASER, ML_MATRIX, OWN, TORCH, TORCH_VALUES, ZETA } from './contenders.mjs';

const EXCESS = 1e-6;

/** For each order and each fraction; AVX-512 has to do better where WIDE says so. */
const GRID = [
  [4, 3.5, 3, 2.5, 3.5],
  [10, 5, 4.5, 3.5, 4.5],
  [15, 6.5, 5.5, 4, 6],
  [30, 10, 4.5, 4, 5],
  [60, 15, 5, 4, 7],
];
/** @type {Record<string, number>} */
const WIDE = { 'avx512 4096 0.01': 85, 'avx512 4096 0.1': 17 };

const square = (/** @type {number} */ n, /** @type {string} */ rest) => `${n}x${n} ${rest}`;

/** @param {string} path the vector instructions that lowrank used @returns {typeof TARGETS} */
const grid = (path) =>
  ORDERS.flatMap((n, i) =>
    MIDDLE_FRACTIONS.map((rho, j) => ({
      against: TORCH,
      atLeast: WIDE[`${path} ${n} ${rho}`] ?? GRID[i]?.[j],
      tasks: [square(n, `decaying rho ${rho}`)],
    })),
  );

/**
 * If a target names several tasks, each has to reach it.
 *
 * @type {{ against: string, atLeast?: number, within?: number, tasks: string[] }[]}
 */
const TARGETS = [
  { against: TORCH, atLeast: 6, tasks: ['4096x4096 gaussian rho 0.1'] },
  { against: TORCH, atLeast: 60, tasks: ['16384x4096 decaying rho 0.01'] },
  { against: TORCH, atLeast: 6, tasks: ['768x3072 decaying rho 0.1'] },
  { against: TORCH, atLeast: 4, tasks: ['512x512 gaussian rho 0.9'] },
  { against: TORCH, atLeast: 30, tasks: ['4096x4096 trained rho 0.01'] },
  { against: TORCH, atLeast: 7, tasks: ['2048x2048 trained rho 0.1'] },
  { against: TORCH, atLeast: 3, tasks: [512, 1024, 2048].map((n) => square(n, 'decaying energy 0.95')) },
  {
    against: TORCH_VALUES,
    atLeast: 2.5,
    tasks: [512, 1024, 2048, 4096].map((n) => square(n, 'decaying singular values')),
  },
  { against: TORCH, atLeast: 4, tasks: ['Llama-1B layer decaying rho 0.4'] },
  { against: ZETA, atLeast: 6, tasks: ['10x512x512 decaying rho 0.9', '10x512x512 gaussian rho 0.9'] },
  { against: ZETA, atLeast: 8, tasks: ['256x64x64 decaying rho 0.9', '256x64x64 gaussian rho 0.9'] },
  {
    against: LASER,
    atLeast: 1,
    tasks: ORDERS.flatMap((n) =>
      // Of large matrices it takes longer than the exact SVD there, and is left out.
      (n > 2048 ? [0.1, 0.25] : [0.1, 0.25, 0.5, 0.9]).map((rho) => square(n, `decaying rho ${rho}`)),
    ),
  },
  { against: LASER, atLeast: 1 / 1.3, tasks: ORDERS.map((n) => square(n, 'decaying rho 0.01')) },
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
 * @param {string} path the vector instructions that lowrank used
 */
export function judged(results, partial, path) {
  const lines = [...grid(path), ...TARGETS].flatMap(({ tasks, ...target }) =>
    tasks.map((id) => judge(target, id, results)),
  );
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
  const ours = result && named(OWN[result.op]);
  const measured = within ? result?.bound?.ratio : named(against)?.ratio;
  const line = { task: id, against, ...(within ? { within } : { atLeast }), measured, excess: ours?.excess };
  if (measured === undefined) return { ...line, verdict: 'not measured' };
  const fast = within ? measured <= within : measured >= (atLeast ?? 0);
  const good = ['gemm', 'values'].includes(result?.op ?? '') || (ours?.excess ?? Number.POSITIVE_INFINITY) <= EXCESS;
  return { ...line, verdict: fast && good ? 'reached' : good ? 'not reached' : 'not reached: excess' };
}
