// Tries generated inputs on everything that reads untrusted input: the readers of safetensors,
// GGUF, ONNX and of a folder's JSON, adapters (PEFT, GGUF), the command line, and the arguments of the
// native addon.
//
// Usage: npm run test:fuzz [-- <options>]
//
// (none)                           a minute in all, seed 1
// --seconds 3600 --seed 7          longer, with other inputs; 0 draws a seed
// --target gguf,onnx               only some targets
// --replay test/fuzz/corpus/<name> one input again
// --target addon --sanitized       with the addon that scripts/test/sanitize.mjs has built
//
// Every target runs in its own process, which may die or hang: the input that caused it is kept. An
// input must end within a second of processor time, with the package's own error or a result that
// its target accepts. Faulty inputs are written to test/fuzz/corpus/, and
// test/unit/fuzz/corpus.test.ts tests them from then on. Exits with 1 if there is one.

import { execFileSync, fork } from 'node:child_process';
import { createHash, randomInt } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'vite';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '..', '..');
const corpus = join(here, 'corpus');
/** @import { Message } from './worker.js' */
/** @typedef {(fault: string, input: Uint8Array) => void} Found receives a fault and the input that caused it */

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    target: { type: 'string', default: 'safetensors,gguf,onnx,folders,adapter,lora,command,addon' },
    replay: { type: 'string' },
    sanitized: { type: 'boolean', default: false },
  },
});
const seed = Number(values.seed) || randomInt(1, 2 ** 31);
/** Names of targets; a kept input has that of its target before the first hyphen. */
const names = values.replay ? [basename(values.replay).replace(/-.*/, '')] : values.target.split(',');
/**
 * A process without an answer for this long counts as hanging. Long, because the machine may be
 * busy.
 */
const SILENCE = 20_000;
/** The most faults to keep of each target, of different kinds. */
const MOST_FAULTS = 20;
const limit = values.sanitized ? 20_000 : 1000;

const worker = await bundled();
const env = values.sanitized ? sanitizedEnvironment() : process.env;
const begun = performance.now();
let inputs = 0;
let faults = 0;
console.log(`seed ${seed}, ${values.seconds} s for ${names.join(', ')}`);
for (const name of names) await fuzz(name, (Number(values.seconds) / names.length) * 1000);
const seconds = ((performance.now() - begun) / 1000).toFixed(1);
console.log(`${inputs} inputs in ${seconds} s, seed ${seed}: ${faults === 0 ? 'no fault' : `${faults} faults`}`);
process.exitCode = faults === 0 ? 0 : 1;

/**
 * Runs a target for some time, and starts a new process after each one that ends by itself.
 *
 * @param {string} name
 * @param {number} milliseconds
 */
async function fuzz(name, milliseconds) {
  /** @type {Set<string>} */
  const seen = new Set();
  const tally = { inputs: 0, answers: 0 };
  const end = performance.now() + milliseconds;
  let round = 0;
  do {
    await session(name, seed + 1_000_003 * round, end, tally, (fault, input) => {
      // Faults differ by their first line and its origin.
      const key = fault.replace(/\d+/g, '').split('\n').slice(0, 2).join('\n');
      if (seen.has(key) || seen.size >= MOST_FAULTS) return;
      seen.add(key);
      keep(name, fault, input);
    });
    round++;
  } while (performance.now() < end - 1000 && seen.size < MOST_FAULTS && !values.replay);
  inputs += tally.inputs;
  faults += seen.size;
  const rate = Math.round(tally.inputs / (milliseconds / 1000));
  console.log(
    `${name}: ${tally.inputs} inputs (${rate} a second), ${tally.answers} different answers, ${seen.size} faults`,
  );
}

/**
 * Runs one process of a target.
 *
 * @param {string} name
 * @param {number} own the seed of its inputs
 * @param {number} end when it is told to end, by the clock of `performance`
 * @param {{ inputs: number, answers: number }} tally updated when it has ended
 * @param {Found} found
 * @returns {Promise<void>}
 */
function session(name, own, end, tally, found) {
  const folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'lowrank-fuzz-'));
  const args = [name, String(own), folder, String(limit), ...(values.replay ? [values.replay] : [])];
  const child = fork(worker, args, {
    env,
    execArgv: ['--max-old-space-size=1024'],
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  let heard = performance.now();
  let stderr = '';
  let hangs = false;
  const counted = { inputs: 0, answers: 0 };
  const hear = (/** @type {string} */ text) => {
    stderr = (stderr + text).slice(-20_000);
    // LAPACK's own check of arguments, which ours must precede; printed by C, so the input may be
    // an earlier one.
    if (text.includes('On entry to')) found(`LAPACK refuses an argument: ${text}`, lastInput(folder));
  };
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', hear);
  child.on('message', (message) => {
    const { tried = counted.inputs, answers = counted.answers, fault, input } = /** @type {Message} */ (message);
    heard = performance.now();
    Object.assign(counted, { inputs: tried, answers });
    if (fault === undefined) return;
    found(fault, input === undefined ? readFileSync(values.replay ?? '') : Buffer.from(input, 'base64'));
  });
  const timer = setInterval(() => {
    if (performance.now() > end && child.connected && !values.replay) child.send('end');
    if (performance.now() - heard < (values.sanitized ? 6 * SILENCE : SILENCE)) return;
    hangs = true;
    child.kill('SIGKILL');
  }, 100);
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => {
      clearInterval(timer);
      if (hangs) found(`gave no answer in ${SILENCE / 1000} s`, lastInput(folder));
      else if (code !== 0) found(`ended the process: ${signal ?? `code ${code}`}\n${stderr}`, lastInput(folder));
      tally.inputs += counted.inputs;
      tally.answers = Math.max(tally.answers, counted.answers);
      rmSync(folder, { recursive: true, force: true });
      resolve();
    });
  });
}

/** Returns the input that the process of this folder tried last. @param {string} folder */
function lastInput(folder) {
  const bytes = readFileSync(join(folder, 'current'));
  return bytes.length < 8 ? Buffer.alloc(0) : bytes.subarray(8, 8 + bytes.readUInt32LE());
}

/**
 * Writes a faulty input to the corpus and reports it.
 *
 * @param {string} name
 * @param {string} fault
 * @param {Uint8Array} input
 */
function keep(name, fault, input) {
  const path = join(corpus, `${name}-${createHash('sha256').update(input).digest('hex').slice(0, 12)}`);
  if (!values.replay) {
    mkdirSync(corpus, { recursive: true });
    writeFileSync(path, input);
  }
  console.error(`\n${name}: ${fault}\nkept as ${relative(root, path)} (${input.length} bytes), seed ${seed}\n`);
}

/**
 * Bundles the worker and the package's own source into one file, below a folder from which the
 * addon is found.
 */
async function bundled() {
  const outDir = join(root, '.build', 'fuzz');
  await build({
    root,
    configFile: false,
    logLevel: 'error',
    build: {
      ssr: join(here, 'worker.ts'),
      outDir,
      target: 'node20',
      minify: false,
      rollupOptions: { output: { entryFileNames: 'worker.mjs' } },
    },
  });
  return join(outDir, 'worker.mjs');
}

function sanitizedEnvironment() {
  const addon = join(root, '.build', 'sanitize-address', 'Release', 'lowrank.node');
  if (!existsSync(addon)) throw new Error('first: npm run test:sanitize');
  const runtime = (/** @type {string} */ name) =>
    execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
  return {
    ...process.env,
    ASAN_OPTIONS: 'detect_leaks=0:exitcode=97',
    UBSAN_OPTIONS: 'exitcode=97:print_stacktrace=1',
    LD_PRELOAD: ['libasan.so', 'libubsan.so', 'libstdc++.so'].map(runtime).join(' '),
    LOWRANK_SANITIZED: addon,
    NODE_OPTIONS: `--require ${JSON.stringify(join(root, 'test', 'sanitize', 'redirect.cjs'))}`,
  };
}
