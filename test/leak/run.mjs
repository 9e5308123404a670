// Looks for memory growth in loops of thousands of calls, each measured after a warm-up. Usage: npm
// run test:leak [-- --quick] [-- --only laser]
//
// Compares the second half of each loop with the first: native bytes must return to their old
// value, no file may stay open, and the process's memory, the median of several samples after
// garbage collection, may not have grown by more than an allowance: 400 bytes a call in 10,000
// calls. Memory that the process takes once and keeps (compiled code, the allocator's arenas,
// OpenBLAS' buffers) may also be taken in the second half, so a half that has grown is repeated; a
// leak grows every time. Exits with 1 if one does. Takes about two minutes; --quick a quarter of
// it, with four times the bytes a call.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { openCheckpoint } from '../../dist/entries/checkpoint.js';
import { AdamW, factorize, Lora, laser, laserSync, matmul, memoryUsage, Sgd, svd, tensor } from '../../dist/index.js';

const { gc } = globalThis;
if (gc === undefined) throw new Error('run it with node --expose-gc');
const quick = process.argv.includes('--quick');
const only = process.argv.includes('--only') ? (process.argv[process.argv.indexOf('--only') + 1] ?? '') : '';

/** Bytes of growth over the second half of a loop that count as noise. */
const ALLOWANCE = 2e6;
const LOOKS = 5;
/** How often a half that has grown is repeated. */
const REPEATS = 3;

const numbers = (/** @type {number} */ count) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * i + 1));
const matrix = (/** @type {number} */ m, /** @type {number} */ n) => tensor(numbers(m * n), [m, n]);
const w = matrix(48, 40);
const folder = mkdtempSync(join(tmpdir(), 'lowrank-leak-'));

/** Writes a safetensors file of some tensors by hand. */
function checkpoint() {
  const file = join(folder, 'model.safetensors');
  const names = Array.from({ length: 20 }, (_, i) => `blocks.${i}.weight`);
  const entries = names.map((name, i) => [name, { dtype: 'F32', shape: [4, 4], data_offsets: [64 * i, 64 * i + 64] }]);
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(file, Buffer.concat([length, header, Buffer.alloc(64 * names.length)]));
  return file;
}
const file = checkpoint();
const broken = join(folder, 'broken.safetensors');
writeFileSync(broken, Buffer.alloc(100, 0xff));

const bad = tensor(numbers(48 * 40).fill(Number.NaN, 100, 101), [48, 40]);
const lora = new Lora({ dim: 64, dimOut: 48, r: 8 });
const x = matrix(16, 64);
const gradient = matrix(16, 48);
const optimizers = {
  adamW: new AdamW([lora.A, lora.B], { lr: 1e-3 }),
  sgd: new Sgd([lora.A, lora.B], { lr: 1e-3, momentum: 0.9 }),
};
const refused = async (/** @type {Promise<unknown>} */ promise) => {
  try {
    await promise;
  } catch {
    return;
  }
  throw new Error('expected a failure');
};
const worker = `
  import { laserSync, laser, tensor } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)};
  const w = tensor(new Float32Array(400).fill(1), [20, 20]);
  laserSync(w, { rank: 2 });
  laser(w, { rank: 2 });`;

/** @typedef {[name: string, calls: number, call: (i: number) => unknown]} Loop */
/** @type {Loop[]} */
const LOOPS = [
  ['laser', 10_000, () => laser(w, { rank: 5 })],
  ['laserSync', 10_000, () => laserSync(w, { rank: 5 })],
  ['svd', 10_000, () => svd(w)],
  ['factorize and apply', 10_000, async () => (await factorize(w, { energy: 0.9 })).apply(matrix(40, 2))],
  ['matmul', 10_000, () => matmul(w, w, { transposeB: true })],
  [
    'laser with a signal and progress',
    10_000,
    () => laser(w, { rank: 5, signal: lasting.signal, onProgress: () => {} }),
  ],
  ['laser that is stopped', 10_000, () => stopped().catch(isStopped)],
  ['laser of a NaN', 10_000, () => refused(laser(bad, { rank: 5 }))],
  ['laser beyond its memory', 10_000, () => refused(laser(w, { rank: 5, maxMemory: 1 }))],
  [
    'forward, backward and a step',
    10_000,
    (i) => {
      const optimizer = i % 2 === 0 ? optimizers.adamW : optimizers.sgd;
      optimizer.zeroGrad();
      lora.forward(x);
      lora.backward(gradient);
      optimizer.step();
    },
  ],
  [
    'open, read and close a checkpoint',
    5_000,
    async () => {
      const opened = await openCheckpoint(file);
      await opened.read('blocks.3.weight');
      await opened.close();
    },
  ],
  ['open a broken checkpoint', 5_000, () => refused(openCheckpoint(broken))],
  [
    'workers that load the addon and end',
    120,
    () =>
      new Promise((resolve, reject) => {
        const thread = new Worker(new URL(`data:text/javascript,${encodeURIComponent(worker)}`), { execArgv: [] });
        thread.once('exit', resolve).once('error', reject);
      }),
  ],
];
const lasting = new AbortController();

function stopped() {
  const controller = new AbortController();
  const promise = laser(w, { rank: 5, signal: controller.signal });
  controller.abort();
  return promise;
}

/** A small job may be done before it can be stopped. @param {unknown} error */
function isStopped(error) {
  if (!(error instanceof Error && error.name === 'AbortError')) throw error;
}

const openFiles = () => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0);

/**
 * Returns the process's memory after garbage collection.
 *
 * @param {NodeJS.GCFunction} collect
 */
async function rss(collect) {
  /** @type {number[]} */
  const looks = [];
  for (let i = 0; i < LOOKS; i++) {
    collect();
    await sleep(10);
    looks.push(process.memoryUsage().rss);
  }
  return /** @type {number} */ (looks.sort((a, b) => a - b)[LOOKS >> 1]);
}

let grown = 0;
const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(2).padStart(8);
console.log(`${'loop'.padEnd(36)}   calls seconds  MB at first  after half  at the end   growth of the second half`);
for (const [name, full, call] of LOOPS) {
  if (!name.includes(only)) continue;
  const count = quick ? Math.ceil(full / 4) : full;
  const half = Math.floor(count / 2);
  const begun = performance.now();
  const first = await rss(gc);
  for (let i = 0; i < half; i++) await call(i);
  const [files, native] = [openFiles(), memoryUsage().native.now];
  // A thread's stack and heap are allocated and freed in larger pieces.
  const allowed = name.startsWith('workers') ? 6 * ALLOWANCE : ALLOWANCE;
  let [middle, last, growth, calls] = [0, await rss(gc), Number.POSITIVE_INFINITY, half];
  for (let turn = 0; turn <= REPEATS && growth > allowed; turn++) {
    middle = last;
    for (let i = half; i < count; i++) await call(i);
    calls += count - half;
    last = await rss(gc);
    growth = last - middle;
  }
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  const faults = [
    growth > allowed && `grew by ${growth} bytes, ${Math.round(growth / (count - half))} a call`,
    openFiles() > files && `holds ${openFiles() - files} more files open`,
    (native !== 0 || memoryUsage().native.now !== 0) && `keeps ${memoryUsage().native.now} native bytes`,
  ].filter(Boolean);
  const figures = [first, middle, last].map((bytes) => megabytes(bytes)).join('    ');
  const verdict = faults.length === 0 ? '' : `  ${faults.join(', ')}`;
  console.log(
    `${name.padEnd(36)} ${String(calls).padStart(7)} ${seconds.padStart(7)}    ${figures}  ${megabytes(growth)}${verdict}`,
  );
  if (faults.length > 0) grown++;
}
rmSync(folder, { recursive: true });
console.log(grown === 0 ? 'nothing grows' : `${grown} loops grow`);
process.exitCode = grown === 0 ? 0 : 1;
