// Finds static OpenBLAS, and the Fortran runtime if OpenBLAS needs more of it than
// native/blas/fortran.cc provides.
// For this system it tries OPENBLAS_ROOT, then installed libraries, then, on Debian and its
// derivatives, the distribution's packages, which it unpacks into .openblas/ without root.
// For a target of scripts/build/targets.mjs it tries OPENBLAS_ROOT, then .openblas/<target>/, which
// scripts/prebuilds/openblas-source.mjs fills.

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withApt } from './apt.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const fetched = join(root, '.openblas');
const compiler = process.env.CXX ?? (process.platform === 'darwin' ? 'gfortran' : 'g++');
const RUNTIME = ['libgfortran.a', 'libquadmath.a'];
/**
 * Functions of the Fortran runtime that need no archive: native/blas/fortran.cc implements them, or
 * only routines call them that the addon never uses.
 */
const NOT_NEEDED = new Set(['_gfortran_concat_string', '_gfortran_etime']);

/**
 * @typedef {object} OpenBlas
 * @property {string} library the path of the archive
 * @property {string[]} extra archives of the Fortran runtime to link after it
 * @property {string} from where it was found, in words
 *
 * @typedef {import('./targets.mjs').Target} Target
 */

/**
 * Runs a program and returns its output, or undefined if it is missing or fails.
 *
 * @param {string} program
 * @param {string[]} args
 */
function output(program, ...args) {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

/** Returns the functions of the Fortran runtime that an archive names. @param {string} library */
function fortranNames(library) {
  const text = readFileSync(library).toString('latin1');
  return new Set(text.match(/_gfortran_\w+/g));
}

/**
 * Returns the archives of the Fortran runtime that `library` needs, or undefined if one is missing.
 *
 * @param {string} folder of the library, searched before the compiler's folders
 * @param {string} library
 */
function runtime(folder, library) {
  if ([...fortranNames(library)].every((name) => NOT_NEEDED.has(name))) return [];
  const found = RUNTIME.map((name) => {
    const beside = join(folder, name);
    if (existsSync(beside)) return beside;
    const path = output(compiler, `-print-file-name=${name}`);
    return path && path !== name && existsSync(path) ? path : undefined;
  });
  // libquadmath does not exist on every architecture.
  return found[0] ? found.filter((path) => path !== undefined) : undefined;
}

/**
 * Returns the first usable OpenBLAS in these folders.
 *
 * @param {string[]} folders
 * @param {string} from
 * @returns {OpenBlas | undefined}
 */
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
  const folders = [
    output('pkg-config', '--variable=libdir', 'openblas'),
    brew && join(brew, 'lib'),
    triplet && `/usr/lib/${triplet}/openblas-pthread`,
    triplet && `/usr/lib/${triplet}`,
    '/usr/lib64',
    '/usr/lib',
    '/usr/local/lib',
  ];
  return folders.flatMap((folder) => folder || []);
}

/**
 * Downloads and unpacks the distribution's package.
 *
 * @param {string} into the folder to fill
 * @param {string} architecture Debian's name
 */
function fetchFromDebian(into, architecture) {
  if (!output('apt-get', '--version') || !output('dpkg-deb', '--version')) return undefined;
  const shown = into.slice(root.length);
  console.error(`no OpenBLAS for ${architecture} is installed: fetching this distribution's package into ${shown}/`);
  const wanted = { architectures: [architecture], packages: [`libopenblas-pthread-dev:${architecture}`] };
  const there = withApt(wanted, (packages) => {
    const tree = join(packages, 'tree');
    for (const name of readdirSync(packages)) execFileSync('dpkg-deb', ['-x', join(packages, name), tree]);
    mkdirSync(into, { recursive: true });
    for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const folder = entry.parentPath;
      const path = join(folder, entry.name);
      if (entry.name === 'copyright') copyFileSync(path, join(into, `${basename(folder)}.copyright`));
      if (!/^libopenblas(p-r[\d.]+)?\.a$/.test(entry.name)) continue;
      copyFileSync(path, join(into, 'libopenblas.a.part'));
      renameSync(join(into, 'libopenblas.a.part'), join(into, 'libopenblas.a'));
    }
  });
  return there ? inFolders([into], `this distribution's package, in ${shown}/`) : undefined;
}

/** Debian's names of Node's architectures. @type {Record<string, string | undefined>} */
const DEBIAN = { x64: 'amd64', arm64: 'arm64', ia32: 'i386', arm: 'armhf', ppc64: 'ppc64el', s390x: 's390x' };

/**
 * Finds or fetches static OpenBLAS.
 *
 * @param {Target} [target] this system by default
 * @returns {OpenBlas}
 * @throws if there is none, with the command that installs one
 */
export function findOpenBlas(target) {
  const given = process.env.OPENBLAS_ROOT;
  if (given) {
    const found = inFolders([join(given, 'lib'), join(given, 'lib64'), given], 'OPENBLAS_ROOT');
    if (found) return found;
    throw new Error(
      `OPENBLAS_ROOT=${given} has no lib/libopenblas.a, or one that needs a libgfortran.a found neither beside it nor by the compiler`,
    );
  }
  const found = target ? forTarget(target) : forHost();
  if (found) return found;
  if (target) {
    throw new Error(
      `static OpenBLAS for ${target.name} was not found: node scripts/prebuilds/openblas-source.mjs ${target.name}`,
    );
  }
  const install =
    process.platform === 'darwin'
      ? 'brew install openblas gcc'
      : "apt install libopenblas-dev gfortran (or your system's packages)";
  throw new Error(`static OpenBLAS was not found: ${install}, or set OPENBLAS_ROOT to a folder with lib/libopenblas.a`);
}

function forHost() {
  const architecture = DEBIAN[process.arch];
  return (
    inFolders(systemFolders(), 'the system') ??
    inFolders([fetched], "this distribution's package, in .openblas/") ??
    (architecture && fetchFromDebian(fetched, architecture))
  );
}

/** @param {Target} target */
function forTarget({ name }) {
  const folder = join(fetched, name);
  return inFolders([folder], folder.slice(root.length));
}
