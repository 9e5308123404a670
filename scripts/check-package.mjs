// Checks what `npm pack` would publish: everything that package.json points to and that a build from source needs, nothing
// that would make npm compile or run a script at installation, nothing that points at what is not there, and the binaries:
// sound, small enough, and with a notice for everything that is linked into them.
// Usage: node scripts/check-package.mjs [--release]
// With --release the binaries of all platforms must be there.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { examine } from './binary.mjs';
import { prebuiltPath, TARGETS, target } from './targets.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const release = process.argv.includes('--release');
/** Of the tarball, in MB. */
const LARGEST = 80;
/** A text that a library leaves in the binary, and the heading that its notice has. */
const LINKED = {
  'OpenBLAS 0.': ['OpenBLAS', 'GotoBLAS2', 'LAPACK'],
  'libc++abi': ['LLVM: libc++, libc++abi, libunwind', 'Zig: compiler runtime'],
  GFORTRAN_: ['libgfortran and libquadmath'],
};

const { exports, bin, types, scripts, gypfile, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
  cwd: root,
  encoding: 'utf8',
});
const answer = JSON.parse(packed);
// npm 12 answers with an object by package name, its predecessors with a list.
const { files, size, unpackedSize } = Array.isArray(answer) ? answer[0] : Object.values(answer)[0];
const paths = new Set(files.map(({ path }) => path));

const needed = [types, ...Object.values(exports['.']), ...Object.values(bin)].map((path) => path.replace(/^\.\//, ''));
needed.push('README.md', 'LICENSE', 'THIRD_PARTY_NOTICES.md', 'package.json', 'CMakeLists.txt', 'prebuilds/README.md');
const sources = readdirSync(join(root, 'native'), { recursive: true, withFileTypes: true });
for (const entry of sources) if (entry.isFile()) needed.push(relative(root, join(entry.parentPath, entry.name)));
needed.push(...scriptsOf('scripts/build-native.mjs'));
needed.push(...['package.json', 'package-lock.json'].map((name) => `scripts/tools/native/${name}`));
const faults = needed.filter((path) => !paths.has(path)).map((path) => `${path} is missing`);

// Where there is a binding.gyp, npm runs node-gyp at every installation.
const unwanted = [...paths].filter((path) =>
  /^(binding\.gyp|test|lib|bench\/.*(?<!\.md)$|docs\/api|node_modules|\.)/.test(path),
);
faults.push(...unwanted.map((path) => `${path} does not belong into the package`));
if (gypfile !== false) faults.push('package.json: gypfile is not false');
for (const name of ['preinstall', 'install', 'postinstall']) {
  if (scripts[name] !== undefined) faults.push(`package.json: there is a script ${name}`);
}
if (size / 1e6 > LARGEST) faults.push(`${(size / 1e6).toFixed(1)} MB packed, at most ${LARGEST} are allowed`);

const notices = readFileSync(join(root, 'THIRD_PARTY_NOTICES.md'), 'utf8');
const headings = new Set([...notices.matchAll(/^## (.*)$/gm)].map((match) => match[1]));
for (const name of ['node-addon-api/LICENSE.md', 'node-api-headers/LICENSE']) {
  const licence = readFileSync(join(root, 'node_modules', name), 'utf8');
  if (!plain(notices).includes(plain(licence)))
    faults.push(`THIRD_PARTY_NOTICES.md does not have ${name} as it is now`);
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
    faults.push(...missing.map((section) => `${path} contains what THIRD_PARTY_NOTICES.md does not: ${section}`));
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

/** A script, and those that it imports. */
function scriptsOf(path, found = new Set()) {
  if (found.has(path)) return found;
  found.add(path);
  for (const [, name] of readFileSync(join(root, path), 'utf8').matchAll(/from '\.\/(.*\.mjs)'/g))
    scriptsOf(`scripts/${name}`, found);
  return found;
}

/** What a file of the package points at that the package does not have. */
function danglingIn(path) {
  const inPackage = (target) => paths.has(target) || [...paths].some((other) => other.startsWith(`${target}/`));
  const beside = (target) => posix.join(posix.dirname(path), decodeURI(target)).replace(/\/$/, '');
  const targetsOf = (text, pattern) => [...text.matchAll(pattern)].map(([, target]) => target);
  const text = () => readFileSync(join(root, path), 'utf8');
  if (path.endsWith('.md')) {
    // Links and images, and references defined below the text; not addresses, and not headings of the same page.
    const links = targetsOf(text(), /(?:\]\(|^ *\[[^\]]+\]: *)(?!\w+:|#)<?([^)#\s>]+)/gm);
    const tarballs = targetsOf(text(), /\blowrank-(\d[\w.-]*)\.tgz/g).filter((it) => it !== version);
    return [...links.filter((link) => !inPackage(beside(link))), ...tarballs.map((it) => `lowrank-${it}.tgz`)];
  }
  if (!/^dist\/.*\.(js|d\.ts)$/.test(path)) return [];
  const maps = targetsOf(text(), /^\/\/# sourceMappingURL=(\S+)/gm).filter((map) => !inPackage(beside(map)));
  // The texts of the command line, --help and messages, name files of the package by their paths from its root.
  const files = targetsOf(
    text().replace(/^\s*(\*|\/[/*]).*$/gm, ''),
    /(?<![\w./-])((?:docs|bench|examples|lib|scripts)\/[\w./-]+\.\w+)/g,
  );
  return [...maps, ...files.filter((file) => !inPackage(file))];
}

function plain(text) {
  return text.replace(/\s+/g, ' ').trim();
}
