// Lists the contenders, how each is started, and which tasks it leaves out, with the reason.

/** @import { Contender, Task } from './types.js' */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { findOpenBlas } from '../scripts/build/openblas.mjs';
import { heldTo } from './paths.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/** The contender that ratios refer to. */
export const OURS = 'lowrank auto';
export const OUR_GEMM = 'lowrank gemm';
export const C_GEMM = 'OpenBLAS from C';
export const TORCH = 'torch.linalg.svd';
export const ZETA = 'zeta Laser';
export const LASER = 'LASER svd_lowrank';
const OUR_LAYER = 'lowrank, side by side';
export const OUR_VALUES = 'lowrank singularValues';
export const TORCH_VALUES = 'torch.linalg.svdvals';
export const ML_MATRIX = 'ml-matrix';

/** The contender of each operation to which the ratios refer. @type {Record<Task['op'], string>} */
export const OWN = { laser: OURS, energy: OURS, values: OUR_VALUES, gemm: OUR_GEMM, layer: OUR_LAYER };

/** The contenders of the growth curves. */
export const CURVES = [OURS, TORCH, LASER];

export const defaultThreads = availableParallelism();

/**
 * Returns the environment of every contender: the number of threads, and no variable that selects
 * kernels, except for the processor path if one is given.
 *
 * @param {number} threads
 * @param {string} [path]
 */
export function environment(threads, path) {
  const { OPENBLAS_CORETYPE, OPENBLAS_L2_SIZE, LOWRANK_SIMD, ...rest } = process.env;
  /** @type {NodeJS.ProcessEnv} */
  const env = { ...rest, ...(path && heldTo(path)) };
  for (const name of ['OPENBLAS', 'OMP', 'MKL', 'BLIS', 'NUMEXPR']) env[`${name}_NUM_THREADS`] = String(threads);
  return env;
}

/** Returns the Python of LOWRANK_PYTHON, or that of .venv by default. */
export function python() {
  const { LOWRANK_PYTHON: given } = process.env;
  const local = join(root, process.platform === 'win32' ? '.venv/Scripts/python.exe' : '.venv/bin/python');
  return given || local;
}

/** @type {(module: string, variant: string) => (task: string) => string[]} */
const inNode = (module, variant) => (task) => [process.execPath, here('contenders/serve.mjs'), module, variant, task];
/** @type {(module: string, variant: string) => (task: string) => string[]} */
const inPython = (module, variant) => (task) => [python(), here('contenders/serve.py'), module, variant, task];

/**
 * Returns every contender.
 *
 * @param {NodeJS.ProcessEnv} env of the contenders
 * @returns {Promise<Contender[]>}
 */
export async function contenders(env) {
  /** @type {Omit<Contender, 'op'>[]} */
  const svds = [
    ...(await methods()).map((method) => ({
      name: `lowrank ${method}`,
      command: inNode('lowrank', method),
      leftOut: (/** @type {Task} */ task) => method === 'exact' && tooLong(task),
    })),
    { name: TORCH, command: inPython('torch_rivals', 'linalg.svd'), leftOut: growthTooLong },
    { name: ZETA, command: inPython('torch_rivals', 'zeta'), leftOut: tooLong },
    { name: LASER, command: inPython('torch_rivals', 'svd_lowrank'), leftOut: sketchTooLong },
    { name: 'NumPy', command: inPython('numpy_rivals', 'svd'), leftOut: tooLong },
    { name: 'SciPy', command: inPython('scipy_rivals', 'svd'), leftOut: tooLong },
    { name: 'scikit-learn', command: inPython('sklearn_rivals', 'randomized_svd'), leftOut: sketchTooLong },
    { name: ML_MATRIX, command: inNode('ml-matrix', ''), leftOut: tooLongInJavaScript },
    { name: 'svd-js', command: inNode('svd-js', ''), leftOut: tooLongInJavaScript },
  ];
  const byEnergy = [
    { name: OURS, command: inNode('lowrank', 'auto') },
    { name: TORCH, command: inPython('torch_rivals', 'energy') },
  ];
  const values = [
    { name: OUR_VALUES, command: inNode('values', '') },
    { name: TORCH_VALUES, command: inPython('torch_rivals', 'svdvals') },
    { name: 'NumPy', command: inPython('numpy_rivals', 'values'), leftOut: tooLong },
    { name: 'SciPy', command: inPython('scipy_rivals', 'values'), leftOut: tooLong },
  ];
  const layers = [
    { name: OUR_LAYER, command: inNode('layer', '') },
    { name: TORCH, command: inPython('torch_rivals', 'layer') },
  ];
  const products = [
    { name: OUR_GEMM, command: inNode('gemm', 'addon') },
    { name: 'lowrank matmul', command: inNode('gemm', 'matmul') },
    cGemm(env),
  ];
  return [
    ...svds.map((one) => ({ op: /** @type {const} */ ('laser'), ...one })),
    ...byEnergy.map((one) => ({ op: /** @type {const} */ ('energy'), ...one })),
    ...values.map((one) => ({ op: /** @type {const} */ ('values'), ...one })),
    ...layers.map((one) => ({ op: /** @type {const} */ ('layer'), ...one })),
    ...products.map((one) => ({ op: /** @type {const} */ ('gemm'), ...one })),
  ];
}

/** Returns the methods of the built library. @returns {Promise<readonly string[]>} */
async function methods() {
  const path = join(root, 'dist/lowrank/approximate.js');
  if (!existsSync(path)) throw new Error('lowrank is not built: npm run build');
  return (await import(pathToFileURL(path).href)).METHODS;
}

const work = (/** @type {Task} */ { m, n }) => m * n * Math.min(m, n);

/** @param {Task} task */
function tooLong(task) {
  return (
    work(task) > 5e9 &&
    !task.complete &&
    'takes as long as the other exact SVDs; measured at 2048x2048 decaying rho 0.1'
  );
}

const growthTooLong = (/** @type {Task} */ task) => work(task) > 4e11 && 'takes minutes';

/** A sketch of at least half the columns takes longer than the exact SVD. @param {Task} task */
const sketchTooLong = (task) => work(task) > 3e10 && (task.rho ?? 0) >= 0.5 && 'takes longer than the exact SVD';

const tooLongInJavaScript = (/** @type {Task} */ task) => work(task) > 2e7 && 'takes minutes';

/**
 * Compiles gemm.c against the OpenBLAS inside the addon, and holds it to the kernels that the addon
 * uses. On a processor that OpenBLAS does not know, it would select its SSE3 kernels by itself,
 * which would be no rival.
 *
 * @param {NodeJS.ProcessEnv} env
 * @returns {Omit<Contender, 'op'>}
 */
function cGemm(env) {
  const program = here('.cache/gemm');
  /** @type {string} */
  let kernel;
  try {
    kernel = execFileSync(process.execPath, [here('contenders/kernel.mjs')], { env, encoding: 'utf8' }).trim();
    const { library, extra } = findOpenBlas();
    mkdirSync(dirname(program), { recursive: true });
    const libraries = [library, ...extra, '-lm', '-lpthread', '-ldl'];
    execFileSync(process.env.CC ?? 'cc', ['-O2', '-o', program, here('gemm.c'), ...libraries], { stdio: 'pipe' });
  } catch (error) {
    const { stderr, message } = /** @type {Error & { stderr?: Buffer }} */ (error);
    const absent = `gemm.c does not compile: ${stderr?.toString().trim() || message}`;
    return { name: C_GEMM, command: () => [], absent };
  }
  return {
    name: C_GEMM,
    command: (json) => {
      const { m, n, k, input } = JSON.parse(json);
      return ['env', `OPENBLAS_CORETYPE=${kernel}`, program, ...[m, n, k].map(String), input];
    },
  };
}
