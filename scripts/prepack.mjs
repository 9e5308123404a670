// Before npm packs or publishes: refuses a package that would lack binaries, and builds dist/ from nothing, so that it has no
// file whose source is gone.
// `npm pack` wants the binaries that can be built on this system, `npm publish` those of all platforms.
// LOWRANK_PACK names others: `all`, `host` (this system), or names of scripts/targets.mjs, separated by commas.

import { execFileSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostTarget, prebuiltPath, TARGETS, target, targetsHere } from './targets.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

try {
  const { LOWRANK_PACK: asked, npm_command: command } = process.env;
  checkBinaries(asked ? named(asked) : command === 'publish' ? Object.keys(TARGETS) : targetsHere());
  buildTypeScript();
} catch (error) {
  console.error(`lowrank: not packed: ${error.message}`);
  process.exitCode = 1;
}

function named(asked) {
  if (asked === 'all') return Object.keys(TARGETS);
  return asked.split(',').map((name) => target(name === 'host' ? hostTarget() : name).name);
}

/** @throws where a binary of `wanted` is missing; one of another platform is only told */
function checkBinaries(wanted) {
  const missing = Object.keys(TARGETS).filter((name) => !existsSync(join(root, prebuiltPath(target(name)))));
  const faults = missing.filter((name) => wanted.includes(name));
  if (faults.length > 0) {
    const paths = faults.map((name) => prebuiltPath(target(name))).join(', ');
    const here = faults.filter((name) => targetsHere().includes(name));
    const make = here.length > 0 ? `Build here: npm run prebuilds -- ${here.join(' ')}. ` : '';
    const other = faults.length > here.length ? 'What is of other systems is built by the release workflow. ' : '';
    throw new Error(
      `missing ${paths}. ${make}${other}For a package of this system alone: LOWRANK_PACK=host (see prebuilds/README.md)`,
    );
  }
  if (missing.length > 0) console.error(`lowrank: this package has no binary for ${missing.join(', ')}`);
}

function buildTypeScript() {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  // Else tsc would take what it wrote before for still there.
  rmSync(join(root, '.build', 'tsbuildinfo'), { force: true });
  // npm's own standard output may be JSON.
  execFileSync('npm', ['run', 'build:ts', '--silent'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
}
