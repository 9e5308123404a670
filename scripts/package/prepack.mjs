// Runs before npm packs or publishes. Refuses a package that lacks binaries, and rebuilds dist/
// from scratch, so that no file remains whose source is gone. `npm pack` needs the binaries that
// can be built on this system, `npm publish` those of all platforms.
// LOWRANK_PACK selects others: `all`, `host` (this system), or names of scripts/build/targets.mjs,
// separated by commas.

import { execFileSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostTarget, prebuiltPath, TARGETS, target, targetsHere } from '../build/targets.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

try {
  const { LOWRANK_PACK: asked, npm_command: command } = process.env;
  checkBinaries(asked ? named(asked) : command === 'publish' ? Object.keys(TARGETS) : targetsHere());
  buildTypeScript();
} catch (error) {
  console.error(`lowrank: not packed: ${/** @type {Error} */ (error).message}`);
  process.exitCode = 1;
}

/**
 * Returns the targets that LOWRANK_PACK selects.
 *
 * @param {string} asked
 */
function named(asked) {
  if (asked === 'all') return Object.keys(TARGETS);
  return asked.split(',').map((name) => target(name === 'host' ? hostTarget() : name).name);
}

/**
 * Checks that the binaries are there.
 *
 * @param {string[]} wanted names of targets
 * @throws if a wanted binary is missing; a missing one of another platform is only reported
 */
function checkBinaries(wanted) {
  const missing = Object.keys(TARGETS).filter((name) => !existsSync(join(root, prebuiltPath(target(name)))));
  const faults = missing.filter((name) => wanted.includes(name));
  if (faults.length > 0) {
    const paths = faults.map((name) => prebuiltPath(target(name))).join(', ');
    const here = faults.filter((name) => targetsHere().includes(name));
    const make = here.length > 0 ? `Build here: npm run prebuilds -- ${here.join(' ')}. ` : '';
    const other = faults.length > here.length ? 'The release workflow builds those of other systems. ' : '';
    throw new Error(
      `missing ${paths}. ${make}${other}For a package of this system alone: LOWRANK_PACK=host (see prebuilds/README.md)`,
    );
  }
  if (missing.length > 0) console.error(`lowrank: this package has no binary for ${missing.join(', ')}`);
}

function buildTypeScript() {
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  // Otherwise tsc would assume that its previous output still exists.
  rmSync(join(root, '.build', 'tsbuildinfo'), { force: true });
  // npm's own standard output may be JSON, so keep the build's output out of it.
  execFileSync('npm', ['run', 'build:ts', '--silent'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
}
