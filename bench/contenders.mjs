// Who takes part, how each is started, and where one is left out, with the reason.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { findOpenBlas } from '../scripts/openblas.mjs';
import { heldTo } from './paths.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** The one that the ratios refer to. */
export const OURS = 'lowrank auto';
export const OUR_GEMM = 'lowrank gemm';
export const C_GEMM = 'OpenBLAS from C';
export const TORCH = 'torch.linalg.svd';
export const ZETA = 'zeta Laser';
export const LASER = 'LASER svd_lowrank';
export const ML_MATRIX = 'ml-matrix';

/** Those of the growth curves. */
export const CURVES = [OURS, TORCH, LASER];

export const defaultThreads = availableParallelism();

/**
 * The environment of every contender: the threads that were asked for, and nothing that steers choices of kernels but, where
 * one was asked for, the processor path that all are held to.
 */
export function environment(threads, path) {
  const { OPENBLAS_CORETYPE, OPENBLAS_L2_SIZE, LOWRANK_SIMD, ...rest } = process.env;
  const env = { ...rest, ...(path && heldTo(path)) };
  for (const name of ['OPENBLAS', 'OMP', 'MKL', 'BLIS', 'NUMEXPR']) env[`${name}_NUM_THREADS`] = String(threads);
  return env;
}

/** The Python of LOWRANK_PYTHON, else that of .venv. */
export function python() {
  const { LOWRANK_PYTHON: given } = process.env;
  const local = join(root, process.platform === 'win32' ? '.venv/Scripts/python.exe' : '.venv/bin/python');
  return given || local;
}

const inNode = (module, variant) => (task) => [process.execPath, here('contenders/serve.mjs'), module, variant, task];
const inPython = (module, variant) => (task) => [python(), here('contenders/serve.py'), module, variant, task];

/** Every contender in `env`: which operation it performs, its command for a task, and why it would not run one. */
export async function contenders(env) {
  const svds = [
    ...(await methods()).map((method) => ({
      name: `lowrank ${method}`,
      command: inNode('lowrank', method),
      leftOut: (task) => method === 'exact' && tooLong(task),
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
  const products = [
    { name: OUR_GEMM, command: inNode('gemm', 'addon') },
    { name: 'lowrank matmul', command: inNode('gemm', 'matmul') },
    cGemm(env),
  ];
  return [...svds.map((one) => ({ op: 'laser', ...one })), ...products.map((one) => ({ op: 'gemm', ...one }))];
}

/** The methods of the library as it is built. */
async function methods() {
  const path = join(root, 'dist/lowrank/approximate.js');
  if (!existsSync(path)) throw new Error('lowrank is not built: npm run build');
  return (await import(pathToFileURL(path))).METHODS;
}

const work = ({ m, n }) => m * n * Math.min(m, n);

function tooLong(task) {
  return (
    work(task) > 5e9 &&
    !task.complete &&
    'takes as long as the other exact SVDs; measured at 4096x4096 decaying rho 0.1'
  );
}

const growthTooLong = (task) => work(task) > 4e11 && 'takes minutes';

/** A sketch of half the columns and more takes longer than the exact SVD. */
const sketchTooLong = (task) => work(task) > 3e10 && task.rho >= 0.5 && 'takes longer than the exact SVD';

const tooLongInJavaScript = (task) => work(task) > 2e7 && 'takes minutes';

/**
 * Compiled against the OpenBLAS that is inside the addon, and held to the kernels that the addon uses: OpenBLAS itself takes
 * its SSE3 kernels on a processor that it does not know, which would be no rival.
 */
function cGemm(env) {
  const program = here('.cache/gemm');
  let kernel;
  try {
    kernel = execFileSync(process.execPath, [here('contenders/kernel.mjs')], { env, encoding: 'utf8' }).trim();
    const { library, extra } = findOpenBlas();
    mkdirSync(dirname(program), { recursive: true });
    const libraries = [library, ...extra, '-lm', '-lpthread', '-ldl'];
    execFileSync(process.env.CC ?? 'cc', ['-O2', '-o', program, here('gemm.c'), ...libraries], { stdio: 'pipe' });
  } catch (error) {
    return { name: C_GEMM, absent: `gemm.c does not compile: ${error.stderr?.toString().trim() || error.message}` };
  }
  return {
    name: C_GEMM,
    command: (json) => {
      const { m, n, k, input } = JSON.parse(json);
      return ['env', `OPENBLAS_CORETYPE=${kernel}`, program, ...[m, n, k].map(String), input];
    },
  };
}
