// Installs programs from npm when they are first needed. Each set has a folder with a package.json
// and a lock file, so `npm ci` installs exact versions and verifies the committed integrity of
// every package.

import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Installs a set without running install scripts, unless these versions are already installed.
 *
 * @param {string} set the folder with package.json and package-lock.json
 * @param {string} into the folder that gets node_modules/; it is created if missing
 * @param {string[]} options further options of npm ci
 * @throws if npm fails; npm prints the reason on standard error
 */
export function installLocked(set, into, options = []) {
  const lock = readFileSync(join(set, 'package-lock.json'), 'utf8');
  // npm writes this file last, so an interrupted installation does not have it.
  const complete = existsSync(join(into, 'node_modules', '.package-lock.json'));
  if (complete && readFileSync(join(into, 'package-lock.json'), 'utf8') === lock) return;
  mkdirSync(into, { recursive: true });
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(join(set, name), join(into, name));
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...options];
  execFileSync('npm', args, {
    cwd: into,
    stdio: ['ignore', 'ignore', 'inherit'],
    // On Windows npm is a .cmd file, which only a shell runs.
    shell: process.platform === 'win32',
  });
}
