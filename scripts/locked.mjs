// Programs from npm, fetched when they are first needed. Each set has a folder with a package.json and a lock file, so `npm ci`
// takes exact versions and checks every package against the integrity that is committed here.

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Installs a set without running install scripts, unless it is there in these versions.
 *
 * @param {string} set the folder with package.json and package-lock.json
 * @param {string} into the folder that gets node_modules/; it is made
 * @param {string[]} options further options of npm ci
 * @throws where npm fails; it has said why on standard error
 */
export function installLocked(set, into, options = []) {
  const lock = readFileSync(join(set, 'package-lock.json'), 'utf8');
  // npm writes this file last, so an installation that was interrupted does not have it.
  const complete = existsSync(join(into, 'node_modules', '.package-lock.json'));
  if (complete && readFileSync(join(into, 'package-lock.json'), 'utf8') === lock) return;
  mkdirSync(into, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(set, name), join(into, name));
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...options];
  execFileSync('npm', args, {
    cwd: into,
    stdio: ['ignore', 'ignore', 'inherit'],
    // npm is a .cmd file on Windows, which only a shell runs.
    shell: process.platform === 'win32',
  });
}
