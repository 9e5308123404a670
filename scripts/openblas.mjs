// Finds static OpenBLAS and the Fortran runtime it needs: OPENBLAS_ROOT, else the system, else (Debian and its kin) the
// distribution's own packages, unpacked into .openblas/ without root.

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const fetched = join(root, '.openblas');
const compiler = process.env.CXX ?? (process.platform === 'darwin' ? 'gfortran' : 'g++');
const RUNTIME = ['libgfortran.a', 'libquadmath.a'];

/** Runs a program and returns what it prints, or undefined when it is missing or fails. */
function output(program, ...args) {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

/** The Fortran runtime: beside OpenBLAS, or where the compiler keeps it. Not every architecture has libquadmath. */
function runtime(folder) {
  const found = RUNTIME.map((name) => {
    const beside = join(folder, name);
    if (existsSync(beside)) return beside;
    const path = output(compiler, `-print-file-name=${name}`);
    return path && path !== name && existsSync(path) ? path : undefined;
  });
  return found[0] ? found.filter((path) => path !== undefined) : undefined;
}

function inFolders(folders, from) {
  for (const folder of folders) {
    const library = join(folder, 'libopenblas.a');
    if (!existsSync(library)) continue;
    const extra = runtime(folder);
    if (extra) return { library, extra, from };
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

/** Downloads the distribution's packages with a private apt state, so neither root nor a change of the system is needed. */
function fetchFromDebian() {
  if (!output('apt-get', '--version') || !output('dpkg-deb', '--version')) return undefined;
  const major = output(compiler, '-dumpversion')?.split('.')[0];
  if (!major) return undefined;
  console.error('OpenBLAS is not installed: fetching the packages of this distribution into .openblas/');
  const work = mkdtempSync(join(tmpdir(), 'lowrank-openblas-'));
  try {
    for (const folder of ['state/lists/partial', 'cache/archives/partial', 'packages', 'tree']) {
      mkdirSync(join(work, folder), { recursive: true });
    }
    const apt = (...args) =>
      execFileSync(
        'apt-get',
        [
          ['-o', `Dir::State=${join(work, 'state')}`],
          ['-o', 'Dir::State::status=/var/lib/dpkg/status'],
          ['-o', `Dir::Cache=${join(work, 'cache')}`],
          ['-o', 'APT::Sandbox::User='],
          ['-o', 'Debug::NoLocking=1'],
          ['-qq', ...args],
        ].flat(),
        { cwd: join(work, 'packages'), stdio: ['ignore', 'ignore', 'inherit'] },
      );
    apt('update');
    apt('download', 'libopenblas-pthread-dev', `libgfortran-${major}-dev`);
    for (const name of readdirSync(join(work, 'packages'))) {
      execFileSync('dpkg-deb', ['-x', join(work, 'packages', name), join(work, 'tree')]);
    }
    const wanted = new Map([
      [/libopenblas(p-r[\d.]+)?\.a$/, 'libopenblas.a'],
      [/libgfortran\.a$/, 'libgfortran.a'],
      [/libquadmath\.a$/, 'libquadmath.a'],
    ]);
    const lib = join(work, 'lib');
    mkdirSync(lib);
    for (const entry of readdirSync(join(work, 'tree'), { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath ?? entry.path, entry.name);
      for (const [pattern, name] of wanted)
        if (entry.isFile() && pattern.test(entry.name)) copyFileSync(path, join(lib, name));
      if (entry.isFile() && entry.name === 'copyright')
        copyFileSync(path, join(lib, `${basename(join(path, '..'))}.copyright`));
    }
    rmSync(fetched, { recursive: true, force: true });
    mkdirSync(fetched);
    for (const name of readdirSync(lib)) copyFileSync(join(lib, name), join(fetched, `${name}.part`));
    for (const name of readdirSync(lib)) renameSync(join(fetched, `${name}.part`), join(fetched, name));
    return inFolders([fetched], 'the packages of this distribution, in .openblas/');
  } catch (error) {
    console.error(`fetching OpenBLAS failed: ${error.message}`);
    return undefined;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** @returns {{ library: string, extra: string[], from: string }} */
export function findOpenBlas() {
  const given = process.env.OPENBLAS_ROOT;
  if (given) {
    const found = inFolders([join(given, 'lib'), join(given, 'lib64'), given], 'OPENBLAS_ROOT');
    if (found) return found;
    throw new Error(
      `OPENBLAS_ROOT=${given} holds no lib/libopenblas.a with a libgfortran.a beside it or in the compiler`,
    );
  }
  const found =
    inFolders(systemFolders(), 'the system') ??
    inFolders([fetched], 'the packages of this distribution, in .openblas/') ??
    fetchFromDebian();
  if (found) return found;
  const install =
    process.platform === 'darwin'
      ? 'brew install openblas gcc'
      : 'apt install libopenblas-dev gfortran (or your system’s)';
  throw new Error(`static OpenBLAS was not found: ${install}, or set OPENBLAS_ROOT to a folder with lib/libopenblas.a`);
}
