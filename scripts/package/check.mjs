// Checks what `npm pack` would publish. The package must have everything that package.json points
// to and that a build from source needs. Nothing in it may make npm compile or run a script at
// installation, or point at a missing file. Binaries must be sound, small enough, and covered by a
// notice for everything that is linked into them.
// Usage: node scripts/package/check.mjs [--release]
// With --release the binaries of all platforms must be there.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { prebuiltPath, TARGETS, target } from '../build/targets.mjs';
import { examine } from '../prebuilds/examine.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const release = process.argv.includes('--release');
/** The largest allowed tarball, in MB. */
const LARGEST = 80;
/** Texts that libraries leave in the binary, and the headings of their notices. */
const LINKED = {
  'OpenBLAS 0.': ['OpenBLAS', 'GotoBLAS2', 'LAPACK'],
  'libc++abi': ['LLVM: libc++, libc++abi, libunwind', 'Zig: compiler runtime'],
  'Mingw-w64 runtime failure': ['mingw-w64'],
  GFORTRAN_: ['libgfortran and libquadmath'],
};

const { exports, bin, types, scripts, gypfile, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
  cwd: root,
  encoding: 'utf8',
});
const answer = JSON.parse(packed);
// npm 12 returns an object by package name, older versions a list.
/** @type {{ files: { path: string }[], size: number, unpackedSize: number }} */
const { files, size, unpackedSize } = Array.isArray(answer) ? answer[0] : Object.values(answer)[0];
const paths = new Set(files.map(({ path }) => path));

/** @type {string[]} */
const targets = [types, ...Object.values(exports['.']), ...Object.values(bin)];
const needed = targets.map((path) => path.replace(/^\.\//, ''));
needed.push('README.md', 'LICENSE', 'THIRD_PARTY_NOTICES.md', 'package.json', 'CMakeLists.txt', 'prebuilds/README.md');
const sources = readdirSync(join(root, 'native'), { recursive: true, withFileTypes: true });
for (const entry of sources) if (entry.isFile()) needed.push(relative(root, join(entry.parentPath, entry.name)));
needed.push(...scriptsOf('scripts/build/native.mjs'));
needed.push(...['package.json', 'package-lock.json'].map((name) => `scripts/build/tools/${name}`));
const faults = needed.filter((path) => !paths.has(path)).map((path) => `${path} is missing`);

// With a binding.gyp in the package, npm would run node-gyp at every installation.
const unwanted = [...paths].filter((path) =>
  /^(binding\.gyp|test|lib|bench\/.*(?<!\.md)$|docs\/api|node_modules|\.)/.test(path),
);
faults.push(...unwanted.map((path) => `${path} does not belong in the package`));
if (gypfile !== false) faults.push('package.json: gypfile is not false');
for (const name of ['preinstall', 'install', 'postinstall']) {
  if (scripts[name] !== undefined) faults.push(`package.json: unexpected script ${name}`);
}
if (size / 1e6 > LARGEST) faults.push(`${(size / 1e6).toFixed(1)} MB packed, at most ${LARGEST} are allowed`);

const notices = readFileSync(join(root, 'THIRD_PARTY_NOTICES.md'), 'utf8');
const headings = new Set([...notices.matchAll(/^## (.*)$/gm)].map((match) => match[1]));
for (const name of ['node-addon-api/LICENSE.md', 'node-api-headers/LICENSE']) {
  const licence = readFileSync(join(root, 'node_modules', name), 'utf8');
  if (!plain(notices).includes(plain(licence)))
    faults.push(`THIRD_PARTY_NOTICES.md does not have the current text of ${name}`);
}
for (const path of paths)
  faults.push(...danglingIn(path).map((target) => `${path} points at ${target}, which is not there`));

let binaries = 0;
for (const name of Object.keys(TARGETS)) {
  const wanted = target(name);
  const path = prebuiltPath(wanted);
  if (!paths.has(path)) {
    if (release) faults.push(`${path} is missing`);
    continue;
  }
  binaries++;
  faults.push(...examine(join(root, path), wanted).faults.map((fault) => `${path} ${fault}`));
  const bytes = readFileSync(join(root, path));
  for (const [text, sections] of Object.entries(LINKED)) {
    if (!bytes.includes(text)) continue;
    const missing = sections.filter((section) => !headings.has(section));
    faults.push(
      ...missing.map((section) => `${path} contains ${section}, for which THIRD_PARTY_NOTICES.md has no section`),
    );
  }
}

if (faults.length > 0) {
  console.error(faults.join('\n'));
  process.exitCode = 1;
} else {
  console.log(
    `${paths.size} files, ${binaries} binaries, ${(size / 1e6).toFixed(1)} MB packed, ${(unpackedSize / 1e6).toFixed(1)} MB unpacked`,
  );
}

/**
 * Returns a script and all that it imports.
 *
 * @param {string} path from the package's root
 * @param {Set<string>} found
 */
function scriptsOf(path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  for (const [, name = ''] of readFileSync(join(root, path), 'utf8').matchAll(/from '(\.\.?\/.*\.mjs)'/g))
    scriptsOf(posix.join(posix.dirname(path), name), found);
  return found;
}

/**
 * Returns the files that a file of the package points at and the package lacks.
 *
 * @param {string} path from the package's root
 * @returns {string[]}
 */
function danglingIn(path) {
  const inPackage = (/** @type {string} */ target) =>
    paths.has(target) || [...paths].some((other) => other.startsWith(`${target}/`));
  const beside = (/** @type {string} */ target) =>
    posix.join(posix.dirname(path), decodeURI(target)).replace(/\/$/, '');
  const targetsOf = (/** @type {string} */ text, /** @type {RegExp} */ pattern) =>
    [...text.matchAll(pattern)].map(([, target = '']) => target);
  const text = () => readFileSync(join(root, path), 'utf8');
  if (path.endsWith('.md')) {
    // Links, images and references defined below the text, but no URLs and no headings of the same
    // page.
    const links = targetsOf(text(), /(?:\]\(|^ *\[[^\]]+\]: *)(?!\w+:|#)<?([^)#\s>]+)/gm);
    const tarballs = targetsOf(text(), /\blowrank-(\d[\w.-]*)\.tgz/g).filter((it) => it !== version);
    return [...links.filter((link) => !inPackage(beside(link))), ...tarballs.map((it) => `lowrank-${it}.tgz`)];
  }
  if (!/^dist\/.*\.(js|d\.ts)$/.test(path)) return [];
  const maps = targetsOf(text(), /^\/\/# sourceMappingURL=(\S+)/gm).filter((map) => !inPackage(beside(map)));
  // Help and messages of the command line name files by their paths from the package's root.
  const files = targetsOf(
    text().replace(/^\s*(\*|\/[/*]).*$/gm, ''),
    /(?<![\w./-])((?:docs|bench|examples|lib|scripts)\/[\w./-]+\.\w+)/g,
  );
  return [...maps, ...files.filter((file) => !inPackage(file))];
}

/** Joins the lines of a text. @param {string} text */
function plain(text) {
  return text.replace(/\s+/g, ' ').trim();
}
