// Checks what `npm pack` would publish: everything that package.json points to and that a build from source needs, and
// nothing that would make npm compile or run a script at installation.
// Usage: node scripts/check-package.mjs

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const { exports, bin, types, scripts, gypfile } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const packed = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
  cwd: root,
  encoding: 'utf8',
});
const [{ files, size, unpackedSize }] = JSON.parse(packed);
const paths = new Set(files.map(({ path }) => path));

const needed = [types, ...Object.values(exports['.']), ...Object.values(bin)].map((path) => path.replace(/^\.\//, ''));
needed.push(
  'README.md',
  'LICENSE',
  'package.json',
  'CMakeLists.txt',
  'scripts/build-native.mjs',
  'scripts/openblas.mjs',
);
needed.push(...readdirSync(join(root, 'native')).map((name) => `native/${name}`), 'prebuilds/README.md');
const faults = needed.filter((path) => !paths.has(path)).map((path) => `${path} is missing`);

// Where there is a binding.gyp, npm runs node-gyp at every installation.
const unwanted = [...paths].filter((path) => /^(binding\.gyp|test|lib|bench|node_modules|\.)/.test(path));
faults.push(...unwanted.map((path) => `${path} does not belong into the package`));
if (gypfile !== false) faults.push('package.json: gypfile is not false');
for (const name of ['preinstall', 'install', 'postinstall']) {
  if (scripts[name] !== undefined) faults.push(`package.json: there is a script ${name}`);
}

if (faults.length > 0) {
  console.error(faults.join('\n'));
  process.exitCode = 1;
} else {
  console.log(
    `${paths.size} files, ${(size / 1e6).toFixed(1)} MB packed, ${(unpackedSize / 1e6).toFixed(1)} MB unpacked`,
  );
}
