// Finds static OpenBLAS, and the Fortran runtime where it needs more of that than native/blas/fortran.cc has. For this system:
// OPENBLAS_ROOT, else what is installed, else (Debian and its kin) the distribution's own packages, unpacked into
// .openblas/ without root. For another one: OPENBLAS_ROOT, else .openblas/<target>/, filled from Debian's packages of that
// architecture (glibc) or by scripts/openblas-source.mjs (musl).

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withApt } from './apt.mjs';
import { hostTarget } from './targets.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const fetched = join(root, '.openblas');
const compiler = process.env.CXX ?? (process.platform === 'darwin' ? 'gfortran' : 'g++');
const RUNTIME = ['libgfortran.a', 'libquadmath.a'];
/** Of the Fortran runtime: what native/blas/fortran.cc has, and what only routines call that nothing here uses. */
const NOT_NEEDED = new Set(['_gfortran_concat_string', '_gfortran_etime']);

/** Runs a program and returns what it prints, or undefined when it is missing or fails. */
function output(program, ...args) {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

/** The functions of the Fortran runtime that are named in an archive. */
function fortranNames(library) {
  const text = readFileSync(library).toString('latin1');
  return new Set(text.match(/_gfortran_\w+/g));
}

/** The archives of the Fortran runtime that are needed beside `library`; undefined when they are needed and not there. */
function runtime(folder, library) {
  if ([...fortranNames(library)].every((name) => NOT_NEEDED.has(name))) return [];
  const found = RUNTIME.map((name) => {
    const beside = join(folder, name);
    if (existsSync(beside)) return beside;
    const path = output(compiler, `-print-file-name=${name}`);
    return path && path !== name && existsSync(path) ? path : undefined;
  });
  // Not every architecture has libquadmath.
  return found[0] ? found.filter((path) => path !== undefined) : undefined;
}

function inFolders(folders, from) {
  for (const folder of folders) {
    for (const name of ['libopenblas.a', 'openblas.lib', 'libopenblas.lib']) {
      const library = join(folder, name);
      if (!existsSync(library)) continue;
      const extra = runtime(folder, library);
      if (extra) return { library, extra, from };
    }
  }
  return undefined;
}

function systemFolders() {
  const triplet = output(compiler, '-dumpmachine')?.replace('-pc-', '-').replace('-redhat-', '-');
  const brew = process.platform === 'darwin' ? output('brew', '--prefix', 'openblas') : undefined;
  return [
    output('pkg-config', '--variable=libdir', 'openblas'),
    brew && join(brew, 'lib'),
    triplet && `/usr/lib/${triplet}/openblas-pthread`,
    triplet && `/usr/lib/${triplet}`,
    '/usr/lib64',
    '/usr/lib',
    '/usr/local/lib',
  ].filter(Boolean);
}

/**
 * Unpacks the distribution's package.
 *
 * @param {string} into the folder to fill
 * @param {string} architecture by Debian's name
 */
function fetchFromDebian(into, architecture) {
  if (!output('apt-get', '--version') || !output('dpkg-deb', '--version')) return undefined;
  const shown = into.slice(root.length);
  console.error(
    `no OpenBLAS for ${architecture} is installed: fetching the package of this distribution into ${shown}/`,
  );
  const wanted = { architectures: [architecture], packages: [`libopenblas-pthread-dev:${architecture}`] };
  const there = withApt(wanted, (packages) => {
    const tree = join(packages, 'tree');
    for (const name of readdirSync(packages)) execFileSync('dpkg-deb', ['-x', join(packages, name), tree]);
    mkdirSync(into, { recursive: true });
    for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const folder = entry.parentPath ?? entry.path;
      const path = join(folder, entry.name);
      if (entry.name === 'copyright') copyFileSync(path, join(into, `${basename(folder)}.copyright`));
      if (!/^libopenblas(p-r[\d.]+)?\.a$/.test(entry.name)) continue;
      copyFileSync(path, join(into, 'libopenblas.a.part'));
      renameSync(join(into, 'libopenblas.a.part'), join(into, 'libopenblas.a'));
    }
  });
  return there ? inFolders([into], `the package of this distribution, in ${shown}/`) : undefined;
}

const DEBIAN = { x64: 'amd64', arm64: 'arm64', ia32: 'i386', arm: 'armhf', ppc64: 'ppc64el', s390x: 's390x' };

/**
 * @param {{ name: string, arch: string, libc?: string } | undefined} target of scripts/targets.mjs, by default this system
 * @returns {{ library: string, extra: string[], from: string }}
 */
export function findOpenBlas(target) {
  const given = process.env.OPENBLAS_ROOT;
  if (given) {
    const found = inFolders([join(given, 'lib'), join(given, 'lib64'), given], 'OPENBLAS_ROOT');
    if (found) return found;
    throw new Error(
      `OPENBLAS_ROOT=${given} holds no lib/libopenblas.a, or one that needs a libgfortran.a that is not beside it or in the compiler`,
    );
  }
  const found = target === undefined || target.zig === undefined ? forHost() : forOther(target);
  if (found) return found;
  if (target?.zig) {
    throw new Error(
      `static OpenBLAS for ${target.name} was not found: node scripts/openblas-source.mjs ${target.name}`,
    );
  }
  const install =
    process.platform === 'darwin'
      ? 'brew install openblas gcc'
      : 'apt install libopenblas-dev gfortran (or your system’s)';
  throw new Error(`static OpenBLAS was not found: ${install}, or set OPENBLAS_ROOT to a folder with lib/libopenblas.a`);
}

function forHost() {
  return (
    inFolders(systemFolders(), 'the system') ??
    inFolders([fetched], 'the package of this distribution, in .openblas/') ??
    (DEBIAN[process.arch] && fetchFromDebian(fetched, DEBIAN[process.arch]))
  );
}

function forOther({ name, arch, libc }) {
  const folder = join(fetched, name);
  const found = inFolders([folder], folder.slice(root.length));
  if (found || libc !== 'glibc') return found;
  // Debian's library is good for an older glibc too: it asks for no function that came later, which the link would show.
  const ours = name === hostTarget() && inFolders([fetched], 'the package of this distribution, in .openblas/');
  return ours || fetchFromDebian(folder, DEBIAN[arch]);
}
