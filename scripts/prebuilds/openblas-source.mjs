// Builds static OpenBLAS with zig into .openblas/<target>/: the kernels of kernels.mjs, in single and
// double precision. The source is Debian 12's, and so is that of LAPACK, which Debian removes from
// OpenBLAS'. Nothing of it needs a Fortran runtime. The build takes minutes, resumes after an
// interruption, and is kept until something of its recipe changes.
// Usage: node scripts/prebuilds/openblas-source.mjs <target>
// OPENBLAS_SOURCE names an unpacked source of another version of OpenBLAS.

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withApt } from '../build/apt.mjs';
import { target } from '../build/targets.mjs';
import { crossTools } from '../build/zig.mjs';
import { kernelsOf } from './kernels.mjs';
import { compileLapack, ROUTINES } from './lapack-source.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const SOURCES = {
  openblas: {
    version: '0.3.21+ds-4',
    file: /^openblas_.*\.orig\.tar\.xz$/,
    sha256: 'bbec5cca61c8033b2d57aaecde205d709323a0b35a5f193290081dbb3826848a',
  },
  lapack: {
    version: '3.11.0-2',
    file: /^lapack_.*\.orig\.tar\.gz$/,
    sha256: '4b9ba79bfd4921ca820e83979db76ab3363155709444a787979e81c22285ffa9',
  },
};
const JOBS = Number(process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? 2);

/** @typedef {import('../build/targets.mjs').Target} Target */

/**
 * Builds OpenBLAS for a target, unless it is there, built by the same recipe.
 *
 * @param {Target} wanted
 * @throws if the sources cannot be fetched, or the build fails
 */
export async function buildOpenBlas(wanted) {
  const { name, zig } = wanted;
  const options = optionsFor(wanted);
  const into = join(root, '.openblas', name);
  const note = join(into, 'recipe.json');
  const sources = process.env.OPENBLAS_SOURCE ?? SOURCES;
  const recipe = JSON.stringify({ zig, options, sources, routines: ROUTINES }, undefined, 2);
  if (readIfThere(note) === recipe) return;
  rmSync(into, { recursive: true, force: true });
  const work = join(root, '.build', `openblas-${name}`);
  const [source, lapack] = [join(work, 'openblas'), join(work, 'lapack')];
  // An interrupted build by the same recipe goes on where it stopped.
  if (readIfThere(join(work, 'recipe.json')) !== recipe) {
    rmSync(work, { recursive: true, force: true });
    unpack(source, lapack);
    leaveOutComplex(source);
    writeFileSync(join(work, 'recipe.json'), recipe);
  }
  const { cc, ar, ranlib } = crossTools(zig);
  const args = Object.entries({ ...options, CC: cc, AR: ar, RANLIB: ranlib }).map(([key, value]) => `${key}=${value}`);
  console.error(`building OpenBLAS for ${name}; this takes minutes`);
  make(source, [...args, `MAKE_NB_JOBS=${JOBS}`, 'libs'], join(work, 'make.log'));
  const library = join(source, found(readdirSync(source), /^libopenblas.*-r.*\.a$/));
  const objects = join(work, 'objects');
  rmSync(objects, { recursive: true, force: true });
  await compileLapack(lapack, objects, { zig, except: objectsOf(library, ar), jobs: JOBS });
  const compiled = readdirSync(objects).filter((file) => file.endsWith('.o'));
  execFileSync(ar, ['qs', library, ...compiled], { cwd: objects });
  mkdirSync(into, { recursive: true });
  copyFileSync(join(source, 'LICENSE'), join(into, 'openblas.copyright'));
  copyFileSync(join(lapack, 'LICENSE'), join(into, 'lapack.copyright'));
  renameSync(library, join(into, 'libopenblas.a'));
  writeFileSync(note, recipe);
  rmSync(work, { recursive: true });
}

/**
 * Returns the options of OpenBLAS' Makefile that shape the library.
 *
 * @param {Target} wanted
 */
function optionsFor(wanted) {
  const { target: oldest, choice, all } = kernelsOf(wanted);
  return {
    HOSTCC: 'cc',
    TARGET: oldest,
    ...(choice.length > 0 ? { DYNAMIC_ARCH: 1 } : {}),
    // The list comes on top of the oldest processor.
    ...(choice.length > 0 && !all ? { DYNAMIC_LIST: choice.slice(1).join(' ').toUpperCase() } : {}),
    NOFORTRAN: 1,
    // The addon calls Fortran's names.
    NO_CBLAS: 1,
    NO_LAPACKE: 1,
    NO_SHARED: 1,
    // Naming some of the four precisions leaves out the others.
    BUILD_SINGLE: 1,
    BUILD_DOUBLE: 1,
    // native/blas/lease.cc relies on OpenBLAS' own threads.
    USE_OPENMP: 0,
    USE_THREAD: 1,
    NUM_THREADS: 64,
    NO_AFFINITY: 1,
  };
}

/** @param {string} path */
function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/**
 * Runs make. Its output, with hundreds of warnings, goes to a log file, which remains after a
 * failure.
 *
 * @param {string} cwd
 * @param {string[]} args
 * @param {string} log
 */
function make(cwd, args, log) {
  const file = openSync(log, 'w');
  const { status } = spawnSync('make', ['-s', ...args], { cwd, stdio: ['ignore', file, file] });
  if (status !== 0) throw new Error(`make failed, see ${log}`);
}

/**
 * Fetches and unpacks the sources.
 *
 * @param {string} openblas the folder for OpenBLAS
 * @param {string} lapack the folder for LAPACK
 */
function unpack(openblas, lapack) {
  const own = process.env.OPENBLAS_SOURCE;
  const folders = own ? { lapack } : { openblas, lapack };
  if (own) cpSync(own, openblas, { recursive: true });
  const names = /** @type {(keyof typeof folders & keyof typeof SOURCES)[]} */ (Object.keys(folders));
  const sources = names.map((name) => `${name}=${SOURCES[name].version}`);
  const there = withApt({ architectures: ['amd64'], packages: [], sources }, (folder) => {
    for (const name of names) {
      const into = name === 'lapack' ? lapack : openblas;
      mkdirSync(into, { recursive: true });
      const { file, sha256 } = SOURCES[name];
      execFileSync('tar', ['-xf', checked(folder, file, sha256), '-C', into, '--strip-components=1']);
    }
  });
  if (!there) throw new Error('cannot fetch the sources, see above; their versions are those of Debian 12');
}

/**
 * Leaves complex numbers out of OpenBLAS' threads on Windows, as those of other systems do: without
 * them the sizes of their blocks are not defined.
 *
 * @param {string} source
 */
function leaveOutComplex(source) {
  const path = join(source, 'driver', 'others', 'blas_server_win32.c');
  const text = readFileSync(path, 'latin1');
  writeFileSync(path, text.replace(/sb = \(void \*\)\(\(\(BLASLONG\)sa \+ \(\([CZ]GEMM_P[^;]*;/g, ';'), 'latin1');
}

/**
 * Returns the path of the file that matches, after verifying its SHA-256.
 *
 * @param {string} folder
 * @param {RegExp} pattern
 * @param {string} sha256
 */
function checked(folder, pattern, sha256) {
  const name = found(readdirSync(folder), pattern);
  const path = join(folder, name);
  const actual = createHash('sha256').update(readFileSync(path)).digest('hex');
  if (actual !== sha256) throw new Error(`${name} has the SHA-256 ${actual}, not ${sha256}`);
  return path;
}

/**
 * @param {string[]} names
 * @param {RegExp} pattern
 */
function found(names, pattern) {
  const name = names.find((file) => pattern.test(file));
  if (name === undefined) throw new Error(`no file matches ${pattern}`);
  return name;
}

/**
 * Returns the names of a library's objects, which are those of the routines.
 *
 * @param {string} library
 * @param {string} ar
 */
function objectsOf(library, ar) {
  const names = execFileSync(ar, ['t', library], { encoding: 'utf8', maxBuffer: 1 << 24 }).split('\n');
  return new Set(names.map((name) => name.replace(/\.o(bj)?$/, '')));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildOpenBlas(target(process.argv[2] ?? ''));
