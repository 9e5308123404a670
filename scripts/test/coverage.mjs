// npm run test:coverage: runs the tests of `unit` and `jobs`. Fails if one of them fails, or if
// they cover too few lines of lib/. .ci/run runs these tests only through this script.
//
// Most tests run the sources. Some start the built command line, whose lines are found by source
// maps; the package has none, so dist/ gets them for this run. A line is covered if either kind of
// test reached it. Further arguments go to vitest.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const LEAST = 95;

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = join(root, 'coverage');
const raw = join(folder, 'processes');

/**
 * Builds dist/, with options in addition to those of tsconfig.build.json.
 *
 * @param {string[]} options
 */
function compile(...options) {
  const tsc = fileURLToPath(import.meta.resolve('typescript/bin/tsc'));
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', ...options], { cwd: root, stdio: 'inherit' });
}

rmSync(folder, { recursive: true, force: true });
mkdirSync(raw, { recursive: true });
const projects = ['--project', 'unit', '--project', 'jobs'];
const reporters = ['--coverage.reporter=lcovonly', `--coverage.reportsDirectory=${join(folder, 'inside')}`];
// Print the figures even if a test fails.
reporters.push('--coverage.reportOnFailure');
compile('--inlineSourceMap');
const tests = spawnSync(
  join(root, 'node_modules/.bin/vitest'),
  ['run', ...projects, '--coverage', ...reporters, ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, NODE_V8_COVERAGE: raw },
  },
);
// Drop the files of the test runner's own processes: it measures them itself, and they run no built
// file.
for (const name of readdirSync(raw)) {
  if (!readFileSync(join(raw, name), 'utf8').includes(`${root}dist/`)) rmSync(join(raw, name));
}
execFileSync(
  process.execPath,
  [
    fileURLToPath(import.meta.resolve('c8/bin/c8.js')),
    'report',
    `--temp-directory=${raw}`,
    '--reporter=lcovonly',
    `--reports-dir=${join(folder, 'outside')}`,
    // Replace its own list, which mistakes lib/linalg/self-test.ts for a test.
    '--exclude-after-remap',
    '--include=lib/**',
    '--exclude=test/**',
    '--src=lib',
  ],
  { cwd: root, stdio: 'inherit' },
);
compile();

/** How often each line ran, by file and line number. @type {Map<string, Map<string, number>>} */
const lines = new Map();
for (const report of ['inside', 'outside']) {
  let file = '';
  for (const line of readFileSync(join(folder, report, 'lcov.info'), 'utf8').split('\n')) {
    if (line.startsWith('SF:')) file = relative(root, resolve(root, line.slice(3)));
    const [, number, hits] = /^DA:(\d+),(\d+)/.exec(line) ?? [];
    if (number === undefined || !file.startsWith('lib/')) continue;
    const counts = lines.get(file) ?? new Map();
    lines.set(file, counts);
    // c8 counts every line of a file, vitest only lines with statements. Only the latter count.
    if (report === 'outside' && !counts.has(number)) continue;
    counts.set(number, (counts.get(number) ?? 0) + Number(hits));
  }
}
const files = [...lines].map(([file, counts]) => {
  const all = [...counts];
  const missed = all.filter(([, hits]) => hits === 0).map(([number]) => Number(number));
  return { file, all: all.length, missed };
});
const total = files.reduce((sum, { all }) => sum + all, 0);
const run = total - files.reduce((sum, { missed }) => sum + missed.length, 0);
const worst = files.filter(({ missed }) => missed.length > 0).sort((a, b) => b.missed.length - a.missed.length);
for (const { file, all, missed } of worst.slice(0, 25)) {
  console.log(`${file}: ${missed.length} of ${all} lines not run: ${missed.slice(0, 20).join(' ')}`);
}
const share = (100 * run) / total;
if (tests.status !== 0) console.log('tests failed, so lines may be missing');
console.log(`${files.length} files, ${run} of ${total} lines run: ${share.toFixed(2)} %, at least ${LEAST} % wanted`);
process.exitCode = tests.status !== 0 || !(share >= LEAST) ? 1 : 0;
