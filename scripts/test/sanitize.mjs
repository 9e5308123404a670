// Runs the native code under AddressSanitizer with UndefinedBehaviorSanitizer, under
// ThreadSanitizer and under valgrind.
// Usage: node scripts/test/sanitize.mjs [--quick]
//
// Three drivers without Node in test/sanitize/ run under all three: every function of the core,
// concurrent calls, and the pool of native/node/task.h over a stand-in for Node. The unit tests of
// the addon's rooms run with an addon built with the first. Each instrument must first find a
// deliberate fault, so one that sees nothing cannot pass.
//
// Needs Linux, GCC and valgrind. OpenBLAS itself is not instrumented: valgrind watches what it does
// to our memory, and its threads and ours exchange data through its locks, which ThreadSanitizer
// knows. On two cores the first run takes about five minutes, three of them for the builds.
// --quick, with fewer sizes and tests, takes under three, or one if everything is built. Exits with
// 1 if anything is found.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findOpenBlas } from '../build/openblas.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const quick = process.argv.includes('--quick');
const require = createRequire(import.meta.url);
const logs = join(root, '.build', 'sanitize-log');
/** @typedef {'address' | 'thread' | 'none'} Kind */

const folder = (/** @type {Kind} */ kind) => join(root, '.build', `sanitize-${kind}`);
const driver = (/** @type {Kind} */ kind, /** @type {string} */ name) => join(folder(kind), `drive_${name}`);
const addon = join(folder('address'), 'Release', 'lowrank.node');

/** The exit code of the sanitizers and of valgrind if they find something. */
const FOUND = 97;
/** The sanitizers of each build; valgrind runs the one with none. @type {[Kind, string][]} */
const BUILDS = [
  ['address', 'address,undefined'],
  ['thread', 'thread'],
  ['none', 'none'],
];
/** Findings also go to a file, since a test may start processes and ignore how they end. */
const environment = ({ leaks = true } = {}) => ({
  ...process.env,
  // Two to four threads on any machine, so that there are races to find.
  OPENBLAS_NUM_THREADS: String(Math.max(2, Math.min(4, availableParallelism()))),
  ASAN_OPTIONS: `exitcode=${FOUND}:detect_leaks=${leaks ? 1 : 0}:log_path=${join(logs, 'asan')}`,
  UBSAN_OPTIONS: `exitcode=${FOUND}:print_stacktrace=1:log_path=${join(logs, 'ubsan')}`,
  TSAN_OPTIONS: `exitcode=${FOUND}:second_deadlock_stack=1:log_path=${join(logs, 'tsan')}`,
});

/** @type {string[]} */
const failures = [];
/** @type {string[]} */
const rows = [];
const begun = performance.now();
const seconds = (/** @type {number} */ since) => ((performance.now() - since) / 1000).toFixed(1);

if (process.platform !== 'linux') stop('the sanitizers are set up for Linux with GCC');
rmSync(logs, { recursive: true, force: true });
mkdirSync(logs, { recursive: true });
const memcheck = spawnSync('valgrind', ['--version']).status === 0;
if (!memcheck) stop('valgrind is not installed: apt install valgrind');

for (const [kind, flags] of BUILDS) build(kind, flags);

// valgrind does not support AVX-512.
const haswell = { OPENBLAS_CORETYPE: 'Haswell', OPENBLAS_NUM_THREADS: '2' };
const VALGRIND = [`--error-exitcode=${FOUND}`, '--leak-check=full', '--errors-for-leak-kinds=definite', '--quiet'];
const size = quick ? ['--quick'] : [];
expectFault('AddressSanitizer', driver('address', 'core'), ['--overrun']);
expectFault('ThreadSanitizer', driver('thread', 'together'), ['--race']);
expectFault('valgrind', 'valgrind', [...VALGRIND, driver('none', 'core'), '--overrun'], haswell);

for (const name of ['core', 'together', 'tasks']) run('address+undefined', name, driver('address', name), size);
for (const LOWRANK_SIMD of narrowerPaths()) {
  run('address+undefined', `core on ${LOWRANK_SIMD}`, driver('address', 'core'), size, { LOWRANK_SIMD });
}
for (const name of ['together', 'tasks']) run('thread', name, driver('thread', name), size);
run('valgrind', 'core', 'valgrind', [...VALGRIND, driver('none', 'core'), '--quick'], haswell);
if (!quick) run('valgrind', 'tasks', 'valgrind', [...VALGRIND, driver('none', 'tasks'), '--quick'], haswell);
unitTests();

console.log(`\n${rows.length} runs in ${seconds(begun)} s, ${failures.length} with findings`);
for (const failure of failures) console.error(`\n${failure}`);
process.exitCode = failures.length > 0 ? 1 : 0;

/**
 * Lists the paths of vector instructions that this processor has but would not select.
 *
 * @returns {string[]}
 */
function narrowerPaths() {
  if (!existsSync(join(root, 'build', 'Release', 'lowrank.node'))) stop('the addon is not built: npm run build:native');
  const { simd, simdPaths } = require(join(root, 'build', 'Release', 'lowrank.node')).info();
  return simdPaths.filter((/** @type {string} */ path) => path !== simd);
}

/**
 * @param {string} message
 * @returns {never}
 */
function stop(message) {
  console.error(`sanitize: ${message}`);
  process.exit(1);
}

/**
 * Builds the drivers, and the addon for AddressSanitizer.
 *
 * @param {Kind} kind
 * @param {string} flags
 */
function build(kind, flags) {
  const since = performance.now();
  const { library, extra } = findOpenBlas();
  const parallel = ['--parallel', String(availableParallelism())];
  /** @type {Record<string, string>} */
  const options = { OPENBLAS_LIBRARY: library, OPENBLAS_EXTRA: extra.join(';'), LOWRANK_SANITIZE: flags };
  if (kind === 'address') {
    // This build includes the addon; cmake-js knows where Node's headers are.
    options.NODE_ADDON_API = dirname(require.resolve('node-addon-api/package.json'));
    const args = Object.entries(options).map(([name, value]) => `--CD${name}=${value}`);
    call(process.execPath, [
      require.resolve('cmake-js/bin/cmake-js'),
      'build',
      ...parallel,
      '--out',
      folder(kind),
      ...args,
    ]);
  } else {
    const args = Object.entries(options).map(([name, value]) => `-D${name}=${value}`);
    call('cmake', ['-S', root, '-B', folder(kind), '-DCMAKE_BUILD_TYPE=Release', ...args]);
    call('cmake', ['--build', folder(kind), ...parallel]);
  }
  console.log(`built for ${kind === 'none' ? 'valgrind' : kind} in ${seconds(since)} s`);
}

/**
 * Runs a step of the build; prints its output and stops if it fails.
 *
 * @param {string} program
 * @param {string[]} args
 */
function call(program, args) {
  try {
    execFileSync(program, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stdout, stderr } = /** @type {{ stdout?: string, stderr?: string }} */ (error);
    stop(`the build failed\n${stdout ?? ''}${stderr ?? ''}`);
  }
}

/**
 * @param {string} program
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
function launch(program, args, env) {
  return spawnSync(program, args, { cwd: root, encoding: 'utf8', env, timeout: 600_000, maxBuffer: 1 << 26 });
}

/** Returns what the instruments have written to the log folder since the last call. */
function findings() {
  const text = readdirSync(logs).map((name) => readFileSync(join(logs, name), 'utf8'));
  rmSync(logs, { recursive: true, force: true });
  mkdirSync(logs);
  return text.join('\n');
}

/**
 * Runs a driver with a deliberate fault, which the instrument has to find.
 *
 * @param {string} instrument
 * @param {string} program
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
function expectFault(instrument, program, args, env = {}) {
  const { status } = launch(program, args, { ...environment(), ...env });
  findings();
  if (status !== FOUND) failures.push(`${instrument} did not find the deliberate fault (status ${status})`);
  else console.log(`${instrument} finds the deliberate fault`);
}

/**
 * Runs a driver, which must end well, report its calls, and leave no finding.
 *
 * @param {string} instrument
 * @param {string} name
 * @param {string} program
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} env
 */
function run(instrument, name, program, args, env = {}) {
  const since = performance.now();
  const { status, signal, stdout, stderr } = launch(program, args, { ...environment(), ...env });
  const calls = /(\d+) calls/.exec(stdout)?.[1];
  const found = findings();
  const passed = status === 0 && calls !== undefined && found === '';
  const details = `status ${status ?? signal}\n${stdout}${stderr}${found}`;
  conclude(instrument, name, `${calls ?? 'no'} calls`, since, passed, details);
}

/**
 * Prints the result of a run, and records it.
 *
 * @param {string} instrument
 * @param {string} name
 * @param {string} what ran, in words
 * @param {number} since
 * @param {boolean} passed
 * @param {string} details of a failure
 */
function conclude(instrument, name, what, since, passed, details) {
  rows.push(name);
  console.log(`${instrument}: ${name}: ${what}, ${seconds(since)} s, ${passed ? 'no finding' : 'FINDINGS'}`);
  if (!passed) failures.push(`${instrument}: ${name}: ${details}`);
}

/**
 * Runs unit tests with the addon under AddressSanitizer and UBSan, in a Node without them:
 * LD_PRELOAD loads their runtimes first.
 */
function unitTests() {
  const since = performance.now();
  const runtime = (/** @type {string} */ name) =>
    execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
  const env = {
    ...environment({ leaks: false }),
    LD_PRELOAD: ['libasan.so', 'libubsan.so', 'libstdc++.so'].map(runtime).join(' '),
    LOWRANK_SANITIZED: addon,
    NODE_OPTIONS: `--require ${JSON.stringify(join(root, 'test', 'sanitize', 'redirect.cjs'))}`,
  };
  const look = `require(${JSON.stringify(join(root, 'build', 'Release', 'lowrank.node'))});
    process.stdout.write(require('fs').readFileSync('/proc/self/maps', 'utf8'))`;
  if (!launch(process.execPath, ['-e', look], env).stdout.includes(addon)) {
    failures.push('Node does not load the addon with the sanitizers');
    return;
  }
  const rooms = ['addon', 'linalg', 'lora', ...(quick ? [] : ['lowrank', 'tensor'])].map((room) => `test/unit/${room}`);
  const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs');
  const args = [vitest, 'run', '--project', 'unit', '--testTimeout', '300000', '--reporter', 'json', ...rooms];
  const { stdout, stderr, status } = launch(process.execPath, args, env);
  const found = findings();
  /**
   * @typedef {{ status: string, fullName: string, failureMessages: string[] }} Test
   * @type {{ numTotalTests: number, numPassedTests: number, testResults?: { assertionResults: Test[] }[] }}
   */
  let report = { numTotalTests: 0, numPassedTests: 0 };
  try {
    report = JSON.parse(stdout.slice(stdout.indexOf('{')));
  } catch {
    // Reported below: no tests have passed.
  }
  const { numTotalTests: total, numPassedTests: passed } = report;
  const failed = report.testResults?.flatMap(({ assertionResults }) =>
    assertionResults
      .filter((test) => test.status === 'failed')
      .map((test) => `${test.fullName}\n${test.failureMessages}`),
  );
  const what = `${passed} of ${total} unit tests of ${rooms.length} rooms`;
  const details = `status ${status}\n${failed?.join('\n') ?? stdout}\n${stderr}${found}`;
  conclude('address+undefined', 'addon in Node', what, since, status === 0 && passed > 0 && found === '', details);
}
