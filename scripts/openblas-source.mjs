// Builds static OpenBLAS from its source with zig, for a Linux target that no distribution has it for: all kernels of the
// architecture, single and double precision, LAPACK from its translation to C. Into .openblas/<target>/. It takes long.
// Usage: node scripts/openblas-source.mjs <target>
// OPENBLAS_SOURCE is an unpacked source of OpenBLAS; else it is fetched from GitHub.

import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { target } from './targets.mjs';
import { crossTools } from './zig.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const VERSION = '0.3.28';
const REPOSITORY = 'https://github.com/OpenMathLib/OpenBLAS.git';

/** @param {ReturnType<typeof target>} wanted */
export function buildOpenBlas({ name, arch, zig }) {
  const work = join(root, '.build', `openblas-${name}`);
  if (!existsSync(join(work, 'Makefile.rule'))) fetchSource(work);
  const { cc, ar, ranlib } = crossTools(zig);
  const options = {
    CC: cc,
    AR: ar,
    RANLIB: ranlib,
    HOSTCC: 'cc',
    TARGET: arch === 'x64' ? 'GENERIC' : 'ARMV8',
    DYNAMIC_ARCH: 1,
    // The addon calls Fortran's names, for which the C translation of LAPACK is enough; it needs no Fortran runtime.
    NOFORTRAN: 1,
    NO_CBLAS: 1,
    NO_LAPACKE: 1,
    NO_SHARED: 1,
    // Where one of the four precisions is named, the others are left out.
    BUILD_SINGLE: 1,
    BUILD_DOUBLE: 1,
    // native/threads.cc counts on OpenBLAS' own threads.
    USE_OPENMP: 0,
    USE_THREAD: 1,
    NUM_THREADS: 64,
    NO_AFFINITY: 1,
    MAKE_NB_JOBS: process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? 2,
  };
  const args = Object.entries(options).map(([key, value]) => `${key}=${value}`);
  console.error(`building OpenBLAS ${VERSION} for ${name}; that takes long`);
  execFileSync('make', ['-s', ...args, 'libs', 'netlib'], { cwd: work, stdio: ['ignore', 'ignore', 'inherit'] });
  const built = readdirSync(work).find((file) => /^libopenblas.*-r.*\.a$/.test(file));
  const into = join(root, '.openblas', name);
  mkdirSync(into, { recursive: true });
  copyFileSync(join(work, built), join(into, 'libopenblas.a'));
  copyFileSync(join(work, 'LICENSE'), join(into, 'openblas.copyright'));
}

function fetchSource(into) {
  rmSync(into, { recursive: true, force: true });
  if (process.env.OPENBLAS_SOURCE) return cpSync(process.env.OPENBLAS_SOURCE, into, { recursive: true });
  const args = ['clone', '--quiet', '--depth', '1', '--branch', `v${VERSION}`, REPOSITORY, into];
  execFileSync('git', args, { stdio: ['ignore', 'inherit', 'inherit'] });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) buildOpenBlas(target(process.argv[2] ?? ''));
