// npm run bench:kernels: checks that the kernel of block Krylov keeps up with sgemm on every path
// of this processor. Each path runs in its own process, with OpenBLAS held to the same
// instructions. Exits with 1 if a rate is below 0.6 of sgemm's.
// Usage: node bench/kernels.mjs [--seconds <n>] [--json]

import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { findOpenBlas } from '../scripts/build/openblas.mjs';
import { heldTo } from './paths.mjs';

/**
 * @typedef {{ simd: string, kernel: string, product: number, transposed: number, sgemm: number }} Rates
 * @typedef {Rates & { n: number, share: number }} Row
 */

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const LEAST_SHARE = 0.6;
const SIZES = [512, 1000, 1024, 2048, 4096];
const SOURCES = [
  'core/processor.cc',
  'core/simd.cc',
  'core/memory.cc',
  'blas/skinny.cc',
  'blas/coretype.cc',
  'blas/lapack.cc',
  'blas/fortran.cc',
];

const { values: options } = parseArgs({
  options: { seconds: { type: 'string', default: '0.5' }, json: { type: 'boolean', default: false } },
});
const program = compiled();
const rows = paths().flatMap((path) => SIZES.map((n) => measured(path, n)));
if (options.json) console.log(JSON.stringify(rows, null, 2));
else console.log(table(rows));
if (rows.some(({ share }) => share < LEAST_SHARE)) process.exitCode = 1;

/** Compiles the program that measures the rates, and returns its path. */
function compiled() {
  const program = here('.cache/kernels');
  const { library, extra } = findOpenBlas();
  mkdirSync(dirname(program), { recursive: true });
  const native = here('../native');
  const sources = SOURCES.map((name) => `${native}/${name}`);
  const flags = ['-std=c++20', '-O3', '-fno-math-errno', '-fno-trapping-math', `-I${native}`];
  const libraries = [library, ...extra, '-lm', '-lpthread', '-ldl'];
  execFileSync(process.env.CXX ?? 'c++', [...flags, here('kernels.cc'), ...sources, '-o', program, ...libraries], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return program;
}

/**
 * @param {number} n
 * @param {string} seconds
 * @param {NodeJS.ProcessEnv} env
 */
function run(n, seconds, env) {
  const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, LOWRANK_SIMD: ___, ...rest } = process.env;
  const args = [String(n), seconds];
  return execFileSync(program, args, { env: { ...rest, ...env }, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** Returns the paths of this processor, which the error for an unknown path lists. */
function paths() {
  try {
    run(64, '0', { LOWRANK_SIMD: 'none' });
  } catch (error) {
    const names = /expected one of (.*) on this processor/.exec(
      `${/** @type {{ stderr?: string }} */ (error).stderr}`,
    )?.[1];
    if (names) return names.split(', ');
    throw error;
  }
  throw new Error('LOWRANK_SIMD is not read');
}

/**
 * @param {string} path
 * @param {number} n
 * @returns {Row}
 */
function measured(path, n) {
  /** @type {Rates} */
  const rates = JSON.parse(run(n, options.seconds, heldTo(path)));
  return { n, ...rates, share: Math.min(rates.product, rates.transposed) / rates.sgemm };
}

/** @param {Row[]} rows */
function table(rows) {
  const lines = rows.map(({ simd, kernel, n, product, transposed, sgemm, share }) => {
    const rates = [product, transposed, sgemm].map((rate) => rate.toFixed(1));
    return `| ${[simd, kernel, n, ...rates, share.toFixed(2)].join(' | ')} |`;
  });
  const head = [
    '| path | OpenBLAS | n | W V | WᵀY | sgemm | lesser share |',
    '| --- | --- | --- | --- | --- | --- | --- |',
  ];
  return [...head, ...lines].join('\n');
}
