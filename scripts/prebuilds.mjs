// Builds the binaries that are published, prebuilds/<platform>-<arch>/lowrank[.libc].node, examines each, and tries it where
// this system can: prebuildify calls node-gyp, binding.gyp calls scripts/build-native.mjs, that calls CMake.
// Usage: npm run prebuilds [-- <target>...]
// Without targets: on Linux x64 all for Linux, elsewhere the system itself. Targets are those of scripts/targets.mjs. Ends
// with 1 where one was not made, has a fault or fails when tried.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { examine } from './binary.mjs';
import { buildOpenBlas } from './openblas-source.mjs';
import { hostTarget, prebuiltPath, target, targetsHere } from './targets.mjs';
import { tryBinary } from './try-binary.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const prebuildify = join(dirname(fileURLToPath(import.meta.resolve('prebuildify'))), 'bin.js');
/** The oldest Node that package.json allows; Node-API makes the binary good for all later ones. */
const NODE = '20.17.0';

const asked = process.argv.slice(2);
const host = hostTarget();
const rows = (asked.length > 0 ? asked : targetsHere()).map((name) => make(target(name)));
print(rows);
if (rows.some(({ faults }) => faults.length > 0)) process.exitCode = 1;

function make(wanted) {
  const row = { name: wanted.name, megabytes: '', packed: '', glibc: '', tried: 'no', faults: [] };
  console.log(`\n${wanted.name}`);
  try {
    prebuild(wanted);
    const path = join(root, prebuiltPath(wanted));
    const { megabytes, packed, glibc, faults } = examine(path, wanted);
    Object.assign(row, { megabytes: megabytes.toFixed(1), packed: packed.toFixed(1), glibc: glibc ?? '', faults });
    row.tried = tryBinary(path, wanted);
  } catch (error) {
    row.faults.push(error.message);
  }
  return row;
}

function prebuild(wanted) {
  if (wanted.zig && process.platform !== 'linux') throw new Error('binaries for Linux are built on Linux');
  if (!wanted.zig && wanted.name !== host) throw new Error('can only be built on that system itself');
  if (wanted.libc === 'musl' && !existsSync(join(root, '.openblas', wanted.name, 'libopenblas.a')))
    buildOpenBlas(wanted);
  const env = { ...process.env, LOWRANK_TARGET: wanted.zig ? wanted.name : '', PREBUILD_LIBC: wanted.libc ?? '' };
  // node-gyp wants Node's headers before it asks whether a target needs them. An installation that brings them saves the download.
  const prefix = join(dirname(process.execPath), '..');
  if (existsSync(join(prefix, 'include', 'node', 'node.h'))) env.npm_config_nodedir ??= prefix;
  const args = [prebuildify, '-t', NODE, '--napi', '--platform', wanted.platform, '--arch', wanted.arch];
  args.push('--cwd', workplace(), '--out', root);
  if (wanted.libc) args.push('--tag-libc');
  // For Linux the linker strips: the strip of one processor does not know the files of another.
  else args.push('--strip');
  const { status } = spawnSync(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
  if (status !== 0) throw new Error('not made, see above');
}

/** node-gyp empties the build/ of the folder it works in, and the one in the root holds the build that is being worked with. */
function workplace() {
  const folder = join(root, '.build', 'prebuild');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of ['binding.gyp', 'package.json', 'CMakeLists.txt'])
    symlinkSync(join(root, name), join(folder, name), 'file');
  symlinkSync(join(root, 'scripts'), join(folder, 'scripts'), 'junction');
  return folder;
}

function print(rows) {
  const table = [['platform', 'MB', 'gzip', 'glibc', 'tried', 'faults']];
  for (const { name, megabytes, packed, glibc, tried, faults } of rows) {
    table.push([name, megabytes, packed, glibc, tried, faults.join('; ') || 'none']);
  }
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)));
  console.log('');
  for (const row of table)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column]))
        .join('  ')
        .trimEnd(),
    );
}
