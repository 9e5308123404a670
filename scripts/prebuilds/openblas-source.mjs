// Builds static OpenBLAS with zig into .openblas/<target>/, for a Linux target that no distribution
// provides it for: all kernels of the architecture, in single and double precision. It is built
// like Debian 12's library, which the glibc targets use: from the same source and with the same
// LAPACK. Debian removes LAPACK from the source and its build takes the objects from liblapack-dev.
// They are compiled Fortran and need only functions such as memcpy and sin of the C library, so
// they also work with musl. The build takes long.
// Usage: node scripts/prebuilds/openblas-source.mjs <target>
// OPENBLAS_SOURCE names an unpacked source of another version; by default the source is Debian's.

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withApt } from '../build/apt.mjs';
import { target } from '../build/targets.mjs';
import { crossTools } from '../build/zig.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const OPENBLAS = {
  version: '0.3.21+ds-4',
  file: /\.orig\.tar\.xz$/,
  sha256: 'bbec5cca61c8033b2d57aaecde205d709323a0b35a5f193290081dbb3826848a',
};
const LAPACK = {
  version: '3.11.0-2',
  file: /^liblapack-dev_.*\.deb$/,
  x64: { architecture: 'amd64', sha256: 'b880ddeaf2982a8cf572925ae1728ec6310da3930db1e65c708e010694295bfd' },
  arm64: { architecture: 'arm64', sha256: '14ffdd063eba7d5569230a335a678afc1b6661d703efd20091643ad0e6af690c' },
};

/**
 * Builds OpenBLAS for a target.
 *
 * @param {import('../build/targets.mjs').Target} wanted
 * @throws if zig cannot build for it, or the build fails
 */
export function buildOpenBlas({ name, arch, zig }) {
  if (zig === undefined || (arch !== 'x64' && arch !== 'arm64')) throw new Error(`zig does not build for ${name}`);
  const work = join(root, '.build', `openblas-${name}`);
  rmSync(work, { recursive: true, force: true });
  const source = join(work, 'source');
  const lapack = join(work, 'lapack');
  unpack(arch, source, lapack);
  const { cc, ar, ranlib } = crossTools(zig);
  const options = {
    CC: cc,
    AR: ar,
    RANLIB: ranlib,
    HOSTCC: 'cc',
    TARGET: arch === 'x64' ? 'GENERIC' : 'ARMV8',
    DYNAMIC_ARCH: 1,
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
    MAKE_NB_JOBS: process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? 2,
  };
  const args = Object.entries(options).map(([key, value]) => `${key}=${value}`);
  console.error(`building OpenBLAS for ${name}; this takes long`);
  make(source, [...args, 'libs'], join(work, 'make.log'));
  const built = found(readdirSync(source), /^libopenblas.*-r.*\.a$/);
  addLapack(join(source, built), lapack, ar);
  const into = join(root, '.openblas', name);
  mkdirSync(into, { recursive: true });
  copyFileSync(join(source, 'LICENSE'), join(into, 'openblas.copyright'));
  copyFileSync(join(lapack, 'usr/share/doc/liblapack-dev/copyright'), join(into, 'liblapack-dev.copyright'));
  renameSync(join(source, built), join(into, 'libopenblas.a'));
  rmSync(work, { recursive: true });
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
 * Unpacks OpenBLAS' source and the package with LAPACK.
 *
 * @param {'x64' | 'arm64'} arch
 * @param {string} source
 * @param {string} lapack
 */
function unpack(arch, source, lapack) {
  mkdirSync(source, { recursive: true });
  const own = process.env.OPENBLAS_SOURCE;
  const { architecture, sha256 } = LAPACK[arch];
  const wanted = {
    architectures: [architecture],
    packages: [`liblapack-dev:${architecture}=${LAPACK.version}`],
    sources: own ? [] : [`openblas=${OPENBLAS.version}`],
  };
  const there = withApt(wanted, (folder) => {
    execFileSync('dpkg-deb', ['-x', checked(folder, LAPACK.file, sha256), lapack]);
    if (own) cpSync(own, source, { recursive: true });
    else
      execFileSync('tar', [
        '-xf',
        checked(folder, OPENBLAS.file, OPENBLAS.sha256),
        '-C',
        source,
        '--strip-components=1',
      ]);
  });
  if (!there) throw new Error('cannot fetch the source, see above; its versions are those of Debian 12');
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
 * Adds LAPACK's objects to the library, except the routines that OpenBLAS has in a faster form,
 * whose objects have the same names.
 *
 * @param {string} library
 * @param {string} lapack the unpacked package
 * @param {string} ar
 */
function addLapack(library, lapack, ar) {
  const objects = join(lapack, 'objects');
  mkdirSync(objects);
  const archive = found(
    readdirSync(join(lapack, 'usr/lib'), { recursive: true, encoding: 'utf8' }),
    /liblapack_pic\.a$/,
  );
  execFileSync(ar, ['x', join(lapack, 'usr/lib', archive)], { cwd: objects });
  const own = new Set(execFileSync(ar, ['t', library], { encoding: 'utf8', maxBuffer: 1 << 24 }).split('\n'));
  const others = readdirSync(objects).filter((file) => !own.has(file));
  execFileSync(ar, ['qs', library, ...others], { cwd: objects });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) buildOpenBlas(target(process.argv[2] ?? ''));
