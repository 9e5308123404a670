// Builds static OpenBLAS with zig, for a Linux target that no distribution has it for, into .openblas/<target>/: all kernels
// of the architecture, single and double precision. It is made as Debian 12 makes the library that the targets with glibc
// get: of the same source, and with the same LAPACK, whose objects Debian's build also takes from liblapack-dev, for Debian
// leaves LAPACK out of the source. They are compiled Fortran, and call of the C library no more than memcpy, sin and their
// kind, so they go with musl too. It takes long.
// Usage: node scripts/openblas-source.mjs <target>
// OPENBLAS_SOURCE is an unpacked source of another version; else it comes from Debian.

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, cpSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withApt } from './apt.mjs';
import { target } from './targets.mjs';
import { crossTools } from './zig.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
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

/** @param {ReturnType<typeof target>} wanted */
export function buildOpenBlas({ name, arch, zig }) {
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
    // Where one of the four precisions is named, the others are left out.
    BUILD_SINGLE: 1,
    BUILD_DOUBLE: 1,
    // native/blas/lease.cc counts on OpenBLAS' own threads.
    USE_OPENMP: 0,
    USE_THREAD: 1,
    NUM_THREADS: 64,
    NO_AFFINITY: 1,
    MAKE_NB_JOBS: process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? 2,
  };
  const args = Object.entries(options).map(([key, value]) => `${key}=${value}`);
  console.error(`building OpenBLAS for ${name}; that takes long`);
  make(source, [...args, 'libs'], join(work, 'make.log'));
  const built = readdirSync(source).find((file) => /^libopenblas.*-r.*\.a$/.test(file));
  addLapack(join(source, built), lapack, ar);
  const into = join(root, '.openblas', name);
  mkdirSync(into, { recursive: true });
  copyFileSync(join(source, 'LICENSE'), join(into, 'openblas.copyright'));
  copyFileSync(join(lapack, 'usr/share/doc/liblapack-dev/copyright'), join(into, 'liblapack-dev.copyright'));
  renameSync(join(source, built), join(into, 'libopenblas.a'));
  rmSync(work, { recursive: true });
}

/** What make says, hundreds of warnings among it, goes into a file, which stays where it fails. */
function make(cwd, args, log) {
  const file = openSync(log, 'w');
  const { status } = spawnSync('make', ['-s', ...args], { cwd, stdio: ['ignore', file, file] });
  if (status !== 0) throw new Error(`make failed, see ${log}`);
}

/** Unpacks OpenBLAS' source and the package with LAPACK. */
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
  if (!there) throw new Error('the source could not be fetched, see above: its versions are those of Debian 12');
}

function checked(folder, pattern, sha256) {
  const name = readdirSync(folder).find((file) => pattern.test(file));
  const path = join(folder, name);
  const found = createHash('sha256').update(readFileSync(path)).digest('hex');
  if (found !== sha256) throw new Error(`${name} has the SHA-256 ${found}, not ${sha256}`);
  return path;
}

/** OpenBLAS has some routines of LAPACK in a faster form; their files bear the same names. */
function addLapack(library, lapack, ar) {
  const objects = join(lapack, 'objects');
  mkdirSync(objects);
  const archive = readdirSync(join(lapack, 'usr/lib'), { recursive: true }).find((file) =>
    /liblapack_pic\.a$/.test(file),
  );
  execFileSync(ar, ['x', join(lapack, 'usr/lib', archive)], { cwd: objects });
  const own = new Set(execFileSync(ar, ['t', library], { encoding: 'utf8', maxBuffer: 1 << 24 }).split('\n'));
  const others = readdirSync(objects).filter((file) => !own.has(file));
  execFileSync(ar, ['qs', library, ...others], { cwd: objects });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) buildOpenBlas(target(process.argv[2] ?? ''));
