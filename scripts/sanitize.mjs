// Runs the native code under AddressSanitizer with UndefinedBehaviorSanitizer, under ThreadSanitizer and under valgrind.
// Usage: node scripts/sanitize.mjs [--quick]
//
// Three drivers without Node (test/sanitize/: every function of the core; concurrent calls; the pool of native/node/task.h over a
// stand-in for Node) run under all three, and the unit tests of the addon's rooms run with an addon built with the first.
// Every instrument is shown a fault on purpose before, so that one that sees nothing cannot pass. Needs Linux, GCC and
// valgrind. OpenBLAS itself is not instrumented: what it does to our memory is what valgrind watches, and what passes between
// its threads and ours goes through its locks, which ThreadSanitizer knows. On two cores it takes about five minutes the
// first time, three for the builds; --quick, with fewer sizes and tests, takes under three, or one where all is built.
// Exits with 1 when anything is found.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findOpenBlas } from './openblas.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const quick = process.argv.includes('--quick');
const require = createRequire(import.meta.url);
const logs = join(root, '.build', 'sanitize-log');
const folder = (kind) => join(root, '.build', `sanitize-${kind}`);
const driver = (kind, name) => join(folder(kind), `drive_${name}`);
const addon = join(folder('address'), 'Release', 'lowrank.node');

/** What the sanitizers and valgrind end with when they have found something. */
const FOUND = 97;
const SANITIZERS = {
  address: 'address,undefined',
  thread: 'thread',
  none: 'none',
};
/** Each finding goes to a file too, since a test may start processes of its own and not mind how they end. */
const environment = (kind) => ({
  ...process.env,
  // Whatever the machine, as many threads as there are races to be seen between.
  OPENBLAS_NUM_THREADS: String(Math.max(2, Math.min(4, availableParallelism()))),
  ASAN_OPTIONS: `exitcode=${FOUND}:detect_leaks=${kind === 'node' ? 0 : 1}:log_path=${join(logs, 'asan')}`,
  UBSAN_OPTIONS: `exitcode=${FOUND}:print_stacktrace=1:log_path=${join(logs, 'ubsan')}`,
  TSAN_OPTIONS: `exitcode=${FOUND}:second_deadlock_stack=1:log_path=${join(logs, 'tsan')}`,
});

const failures = [];
const rows = [];
const begun = performance.now();
const seconds = (since) => ((performance.now() - since) / 1000).toFixed(1);

if (process.platform !== 'linux') stop('the sanitizers are set up for Linux with GCC');
rmSync(logs, { recursive: true, force: true });
mkdirSync(logs, { recursive: true });
const memcheck = spawnSync('valgrind', ['--version']).status === 0;
if (!memcheck) stop('valgrind is not installed: apt install valgrind');

for (const [kind, flags] of Object.entries(SANITIZERS)) build(kind, flags);

// valgrind knows no AVX-512.
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

/** The vector instructions of this processor that would not be chosen. */
function narrowerPaths() {
  if (!existsSync(join(root, 'build', 'Release', 'lowrank.node'))) stop('first: npm run build:native');
  const { simd, simdPaths } = require(join(root, 'build', 'Release', 'lowrank.node')).info();
  return simdPaths.filter((path) => path !== simd);
}

function stop(message) {
  console.error(`sanitize: ${message}`);
  process.exit(1);
}

function build(kind, flags) {
  const since = performance.now();
  const { library, extra } = findOpenBlas();
  const options = { OPENBLAS_LIBRARY: library, OPENBLAS_EXTRA: extra.join(';'), LOWRANK_SANITIZE: flags };
  if (kind === 'address') {
    // With the addon; cmake-js knows where Node's headers are.
    options.NODE_ADDON_API = dirname(require.resolve('node-addon-api/package.json'));
    const args = Object.entries(options).map(([name, value]) => `--CD${name}=${value}`);
    call(process.execPath, [require.resolve('cmake-js/bin/cmake-js'), 'build', '--out', folder(kind), ...args]);
  } else {
    const args = Object.entries(options).map(([name, value]) => `-D${name}=${value}`);
    call('cmake', ['-S', root, '-B', folder(kind), '-DCMAKE_BUILD_TYPE=Release', ...args]);
    call('cmake', ['--build', folder(kind)]);
  }
  console.log(`built for ${kind === 'none' ? 'valgrind' : kind} in ${seconds(since)} s`);
}

function call(program, args) {
  try {
    execFileSync(program, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    stop(`the build failed\n${error.stdout ?? ''}${error.stderr ?? ''}`);
  }
}

function launch(program, args, env) {
  return spawnSync(program, args, { cwd: root, encoding: 'utf8', env, timeout: 600_000, maxBuffer: 1 << 26 });
}

/** What was written to the log folder since the last time. */
function findings() {
  const text = readdirSync(logs).map((name) => readFileSync(join(logs, name), 'utf8'));
  rmSync(logs, { recursive: true, force: true });
  mkdirSync(logs);
  return text.join('\n');
}

function expectFault(instrument, program, args, env = {}) {
  const { status } = launch(program, args, { ...environment(), ...env });
  findings();
  if (status !== FOUND)
    failures.push(`${instrument} did not see the fault that was made on purpose (status ${status})`);
  else console.log(`${instrument} sees the fault made on purpose`);
}

function run(instrument, name, program, args, env = {}) {
  const since = performance.now();
  const { status, signal, stdout, stderr } = launch(program, args, { ...environment(), ...env });
  const calls = /(\d+) calls/.exec(stdout)?.[1];
  const found = findings();
  conclude(instrument, name, `${calls ?? 'no'} calls`, since, status === 0 && calls !== undefined && found === '', [
    `status ${status ?? signal}\n${stdout}${stderr}${found}`,
  ]);
}

function conclude(instrument, name, what, since, well, [details]) {
  rows.push(name);
  console.log(`${instrument}: ${name}: ${what}, ${seconds(since)} s, ${well ? 'no finding' : 'FINDINGS'}`);
  if (!well) failures.push(`${instrument}: ${name}: ${details}`);
}

/** The addon with AddressSanitizer and UBSan in a Node without them: their runtimes come first by LD_PRELOAD. */
function unitTests() {
  const since = performance.now();
  const runtime = (name) => execFileSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim();
  const env = {
    ...environment('node'),
    LD_PRELOAD: ['libasan.so', 'libubsan.so', 'libstdc++.so'].map(runtime).join(' '),
    LOWRANK_SANITIZED: addon,
    NODE_OPTIONS: `--require ${JSON.stringify(join(root, 'test', 'sanitize', 'redirect.cjs'))}`,
  };
  const look = `require(${JSON.stringify(join(root, 'build', 'Release', 'lowrank.node'))});
    process.stdout.write(require('fs').readFileSync('/proc/self/maps', 'utf8'))`;
  if (!launch(process.execPath, ['-e', look], env).stdout.includes(addon)) {
    failures.push('the tests would not load the addon with the sanitizers');
    return;
  }
  const rooms = ['addon', 'linalg', 'lora', ...(quick ? [] : ['lowrank', 'tensor'])].map((room) => `test/unit/${room}`);
  const vitest = join(dirname(require.resolve('vitest/package.json')), 'vitest.mjs');
  const args = [vitest, 'run', '--project', 'unit', '--testTimeout', '300000', '--reporter', 'json', ...rooms];
  const { stdout, stderr, status } = launch(process.execPath, args, env);
  const found = findings();
  let report = { numTotalTests: 0, numPassedTests: 0 };
  try {
    report = JSON.parse(stdout.slice(stdout.indexOf('{')));
  } catch {
    // Told below: no tests have passed.
  }
  const { numTotalTests: total, numPassedTests: passed } = report;
  const failed = report.testResults?.flatMap(({ assertionResults }) =>
    assertionResults
      .filter((test) => test.status === 'failed')
      .map((test) => `${test.fullName}\n${test.failureMessages}`),
  );
  const what = `${passed} of ${total} unit tests of ${rooms.length} rooms`;
  const details = `status ${status}\n${failed?.join('\n') ?? stdout}\n${stderr}${found}`;
  conclude('address+undefined', 'addon in Node', what, since, status === 0 && passed > 0 && found === '', [details]);
}
