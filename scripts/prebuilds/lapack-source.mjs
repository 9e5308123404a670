// Compiles the routines of LAPACK that native/blas/lapack.cc calls, and all that these need, for any
// target. The compiler is flang: unlike gfortran it compiles for every processor and system, and of
// its runtime LAPACK needs only a comparison of strings, which native/blas/fortran.cc has.

import { spawn } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { unpacked } from './unpacked.mjs';

/** What native/blas/lapack.cc calls, and OpenBLAS does not have. */
export const ROUTINES = ['sgesdd', 'sgesvd', 'dsytrd', 'dstemr', 'dormtr', 'dgeqp3'];
/** The folders of the source, and what each file's name must look like. */
const FOLDERS = { SRC: /\.(f|f90|F90)$/, INSTALL: /^([sd]lamch|[sd]roundup_lwork)\.f$/ };
/** Modules, in the order in which they need each other. */
const MODULES = ['la_constants', 'la_xisnan'];
const LIBRARIES =
  'libllvm19 libclang-cpp19 libedit2 libffi8 libxml2 libz3-4 libzstd1 libbsd0 libtinfo6 libicu72 liblzma5 libmd0';

/**
 * Compiles LAPACK.
 *
 * @param {string} source the unpacked source of LAPACK
 * @param {string} into the folder for the objects; it is created
 * @param {object} options
 * @param {string} options.zig the triple of the target
 * @param {Set<string>} options.except names of routines that exist already
 * @param {number} options.jobs compilers that run at a time
 * @throws if a file does not compile
 */
export async function compileLapack(source, into, { zig, except, jobs }) {
  const files = filesOf(source);
  const wanted = closure(files, except);
  const modules = MODULES.filter((name) => wanted.has(name));
  const others = [...wanted].filter((name) => !modules.includes(name)).sort();
  mkdirSync(into, { recursive: true });
  const compile = compiler(into, zig);
  for (const name of modules) await compile(files.get(name) ?? '');
  const next = others.values();
  const lane = async () => {
    for (const name of next) await compile(files.get(name) ?? '');
  };
  await Promise.all(Array.from({ length: jobs }, lane));
}

/**
 * Returns the source files by the routine or module that each defines.
 *
 * @param {string} source
 */
function filesOf(source) {
  const named = Object.entries(FOLDERS).flatMap(([folder, pattern]) =>
    readdirSync(join(source, folder))
      .filter((name) => pattern.test(name))
      .map((name) => join(source, folder, name)),
  );
  return new Map(named.map((path) => [basename(path, extname(path)), path]));
}

/**
 * Returns the names of all routines and modules that the wanted ones need, directly or not: those
 * whose names occur in the code.
 *
 * @param {Map<string, string>} files
 * @param {Set<string>} except
 */
function closure(files, except) {
  /** @type {Set<string>} */
  const found = new Set();
  const waiting = [...ROUTINES];
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const path = files.get(name);
    if (path === undefined || found.has(name) || except.has(name)) continue;
    found.add(name);
    const fixed = path.endsWith('.f');
    const code = readFileSync(path, 'latin1')
      .split('\n')
      .filter((line) => !fixed || !/^[*cC]/.test(line))
      .map((line) => line.replace(/!.*/, ''));
    for (const [word] of code
      .join('\n')
      .toLowerCase()
      .matchAll(/[a-z]\w*/g))
      waiting.push(word);
  }
  return found;
}

/**
 * Returns a function that compiles a file into the folder, which also gets the modules.
 *
 * @param {string} into
 * @param {string} zig
 * @returns {(path: string) => Promise<void>}
 */
function compiler(into, zig) {
  const tree = unpacked('flang', ['flang-19', 'libflang-19-dev', ...LIBRARIES.split(' ')], 'x64');
  const libraries = ['usr/lib/x86_64-linux-gnu', 'usr/lib/llvm-19/lib', 'lib/x86_64-linux-gnu'];
  const env = { ...process.env, LD_LIBRARY_PATH: libraries.map((folder) => join(tree, folder)).join(':') };
  const flang = join(tree, 'usr/lib/llvm-19/bin/flang-new');
  // LAPACK compares strings and prints nothing; -fPIC means nothing to Windows.
  const options = [`--target=${tripleOf(zig)}`, '-O2', '-c', ...(zig.includes('windows') ? [] : ['-fPIC'])];
  return (path) =>
    new Promise((resolve, reject) => {
      const child = spawn(flang, [...options, path], { cwd: into, env, stdio: ['ignore', 'ignore', 'inherit'] });
      child.on('error', reject);
      child.on('exit', (code) => (code === 0 ? resolve() : reject(new Error(`flang cannot compile ${path}`))));
    });
}

/** Translates zig's name of a target to LLVM's. @param {string} zig */
const tripleOf = (zig) =>
  zig
    .replace('-macos.', '-apple-macos')
    .replace('-windows-', '-pc-windows-')
    .replace(/(-gnu|-musl)\.[\d.]+$/, '$1');
