// Builds the published binaries, prebuilds/<platform>-<arch>/lowrank[.libc].node, examines each
// one, and tests it if this system can run it. prebuildify calls node-gyp, whose binding.gyp calls
// scripts/build/native.mjs, which calls CMake.
// Usage: npm run prebuilds [-- <target>...]
// Targets are those of scripts/build/targets.mjs, by default all of them. Needs Linux x64. Exits with
// 1 if a binary cannot be built, has a fault or fails its test.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostTarget, prebuiltPath, TARGETS, target } from '../build/targets.mjs';
import { examine } from './examine.mjs';
import { buildOpenBlas } from './openblas-source.mjs';
import { testBinary } from './test-binary.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const prebuildify = join(dirname(fileURLToPath(import.meta.resolve('prebuildify'))), 'bin.js');
/**
 * The oldest Node that package.json allows. Because of Node-API the binary works in all later ones.
 */
const NODE = '20.17.0';

/**
 * @typedef {import('../build/targets.mjs').Target} Target
 * @typedef {{ name: string, megabytes: string, packed: string, system: string, tested: string, faults: string[] }} Row
 */

const asked = process.argv.slice(2);
/** @type {Row[]} */
const rows = [];
for (const wanted of (asked.length > 0 ? asked : Object.keys(TARGETS)).map(target)) rows.push(await make(wanted));
print(rows);
if (rows.some(({ faults }) => faults.length > 0)) process.exitCode = 1;

/**
 * Builds, examines and tests one binary.
 *
 * @param {Target} wanted
 * @returns {Promise<Row>}
 */
async function make(wanted) {
  /** @type {Row} */
  const row = { name: wanted.name, megabytes: '', packed: '', system: '', tested: 'no', faults: [] };
  console.log(`\n${wanted.name}`);
  try {
    await prebuild(wanted);
    const path = join(root, prebuiltPath(wanted));
    const { megabytes, packed, system, faults } = examine(path, wanted);
    Object.assign(row, { megabytes: megabytes.toFixed(1), packed: packed.toFixed(1), system: system ?? '', faults });
    row.tested = testBinary(path, wanted);
  } catch (error) {
    row.faults.push(/** @type {Error} */ (error).message);
  }
  return row;
}

/** @param {Target} wanted */
async function prebuild(wanted) {
  if (hostTarget() !== 'linux-x64-glibc') throw new Error('binaries are built on Linux x64');
  if (!process.env.OPENBLAS_ROOT) await buildOpenBlas(wanted);
  /** @type {NodeJS.ProcessEnv} */
  const env = { ...process.env, LOWRANK_TARGET: wanted.name, PREBUILD_LIBC: wanted.libc ?? '' };
  // node-gyp always wants Node's headers, even if a target needs none. Those of the running Node
  // save the download.
  const prefix = join(dirname(process.execPath), '..');
  if (existsSync(join(prefix, 'include', 'node', 'node.h'))) env.npm_config_nodedir ??= prefix;
  // The linker strips: `strip` of one system cannot read another's files, and would break the
  // signature that macOS demands.
  const args = [prebuildify, '-t', NODE, '--napi', '--platform', wanted.platform, '--arch', wanted.arch];
  args.push('--cwd', workplace(), '--out', root);
  if (wanted.libc) args.push('--tag-libc');
  const { status } = spawnSync(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) throw new Error('the build failed, see above');
}

/** Makes a folder for node-gyp, which empties build/ where it runs: the root's build/ is in use. */
function workplace() {
  const folder = join(root, '.build', 'prebuild');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of ['binding.gyp', 'package.json', 'CMakeLists.txt'])
    symlinkSync(join(root, name), join(folder, name), 'file');
  symlinkSync(join(root, 'scripts'), join(folder, 'scripts'), 'junction');
  return folder;
}

/** @param {Row[]} rows */
function print(rows) {
  const head = ['platform', 'MB', 'gzip', 'needs', 'tested', 'faults'];
  const body = rows.map(({ faults, ...row }) => [
    row.name,
    row.megabytes,
    row.packed,
    row.system,
    row.tested,
    faults.join('; ') || 'none',
  ]);
  const table = [head, ...body];
  const widths = head.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  console.log('');
  for (const row of table) {
    const cells = row.map((cell, column) => cell.padEnd(widths[column] ?? 0));
    console.log(cells.join('  ').trimEnd());
  }
}
