import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const library = new URL('../../dist/index.js', import.meta.url);

/** The calls that take long, as source: `start.<name>(w, options)` for a square tensor `w`. */
const LONG_CALLS = {
  gesdd: "laser(w, { rank: 20, method: 'exact', ...options })",
  gram: "laser(w, { rank: 20, method: 'gram', ...options })",
  krylov: "factorize(w, { rank: 20, method: 'krylov', ...options })",
  energy: 'factorize(w, { energy: 0.9, ...options })',
  svd: 'svd(w, options)',
  singularValues: 'singularValues(w, options)',
  matrixRank: 'matrixRank(w, options)',
  matmul: 'matmul(w, w, options)',
} as const;
export type LongCall = keyof typeof LONG_CALLS;
export const LONG = Object.keys(LONG_CALLS) as LongCall[];

/** One call of each class: LAPACK, which nothing interrupts, our own threads, and threaded BLAS. */
const REPRESENTATIVES: readonly LongCall[] = ['gesdd', 'krylov', 'matmul'];
/**
 * The calls to try each hazard with: all in `npm run test:hazards`, one of each class in `npm
 * test`.
 */
export const TRIED = process.env.LOWRANK_HAZARDS === 'all' ? LONG : REPRESENTATIVES;

const NAMES = 'factorize, laser, laserSync, matmul, matrixRank, memoryUsage, singularValues, svd, tensor';

/**
 * What every script begins with: the library, `matrix(n)`, `start` and `sleep`. The numbers of a
 * matrix are noise from a congruential generator, because sines of millions take seconds.
 */
export const prelude = `
  import { ${NAMES} } from ${JSON.stringify(library.href)};
  const matrix = (n) => {
    const numbers = new Float32Array(n * n);
    for (let i = 0, state = 1; i < numbers.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      numbers[i] = state / 2 ** 31;
    }
    return tensor(numbers, [n, n]);
  };
  const start = {
    ${LONG.map((name) => `${name}: (w, options = {}) => ${LONG_CALLS[name]}`).join(',\n')}
  };
  const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));`;

/** Source of a worker, as its address. */
export function workerAddress(code: string): string {
  const source = `${prelude}
    import { parentPort, workerData } from 'node:worker_threads';
    ${code}`;
  return `data:text/javascript,${encodeURIComponent(source)}`;
}

export interface Ended {
  readonly out: string;
  readonly exit: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly seconds: number;
}

/** Runs an ES module in a process of its own; one that hangs is killed after a minute. */
export async function run(
  code: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Ended> {
  if (!existsSync(fileURLToPath(library))) throw new Error('dist/ is not built: npm run build');
  const begin = performance.now();
  const child = spawn(process.execPath, [...args, '--input-type=module', '-e', `${prelude}\n${code}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
  }
  const [exit, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { out, exit, signal, seconds: (performance.now() - begin) / 1000 };
}
