// Builds the addon with CMake (through cmake-js) and puts it at <outDir>/lowrank.node, by default build/Release.
// Usage: node scripts/build-native.mjs [outDir]

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findOpenBlas } from './openblas.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const outDir = resolve(root, process.argv[2] ?? 'build/Release');
const arch = process.env.PREBUILD_ARCH ?? process.arch;
// Not build/: `node-gyp rebuild` owns that folder and empties it.
const workDir = join(root, '.build', `cmake-${arch}`);

try {
  build();
} catch (error) {
  console.error(`lowrank: the native build failed: ${error.message}`);
  process.exitCode = 1;
}

function build() {
  const { library, extra, from } = findOpenBlas();
  const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  const args = ['build', '--out', workDir, '--arch', arch];
  args.push(`--CDOPENBLAS_LIBRARY=${library}`, `--CDOPENBLAS_EXTRA=${extra.join(';')}`);
  try {
    execFileSync(process.execPath, [cmakeJs, ...args], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    console.error(`${error.stdout ?? ''}${error.stderr ?? ''}`.trim());
    throw new Error('CMake or the compiler stopped, see above');
  }
  const built = join(workDir, 'Release', 'lowrank.node');
  const target = join(outDir, 'lowrank.node');
  if (!same(built, target)) {
    mkdirSync(outDir, { recursive: true });
    // A process may have the old one mapped: it is replaced, never written over.
    copyFileSync(built, `${target}.new`);
    renameSync(`${target}.new`, target);
    console.error(`built ${target.slice(root.length)} (${megabytes(target)} MB, OpenBLAS from ${from})`);
  }
}

/** Whether the copy is already there, so that a build without changes touches nothing. */
function same(a, b) {
  try {
    return statSync(a).size === statSync(b).size && readFileSync(a).equals(readFileSync(b));
  } catch {
    return false;
  }
}

function megabytes(path) {
  return (statSync(path).size / 1e6).toFixed(1);
}
