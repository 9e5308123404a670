// Downloads packages and sources of the running Debian or Ubuntu, for any of its architectures. apt
// gets a private state folder, so this needs no root and leaves the system unchanged. Packages come
// from the sources that the system has configured.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/**
 * Downloads packages into a temporary folder and calls `use` with it. apt verifies every download
 * against the lists that the distribution signs.
 *
 * @param {object} wanted
 * @param {string[]} wanted.architectures Debian's names
 * @param {string[]} wanted.packages names, with an optional version after `=`
 * @param {string[]} [wanted.sources] packages whose source archives are wanted
 * @param {string} [wanted.release] another release than the running one
 * @param {(folder: string) => void} use
 * @returns {boolean} whether it succeeded; errors are printed
 */
export function withApt({ architectures, packages, sources = [], release }, use) {
  const work = mkdtempSync(join(tmpdir(), 'lowrank-apt-'));
  try {
    for (const folder of ['state/lists/partial', 'cache/archives/partial', 'packages']) {
      mkdirSync(join(work, folder), { recursive: true });
    }
    const options = [
      `Dir::State=${join(work, 'state')}`,
      'Dir::State::status=/var/lib/dpkg/status',
      `Dir::Cache=${join(work, 'cache')}`,
      'APT::Sandbox::User=',
      `APT::Architectures=${architectures.join(',')}`,
      'Debug::NoLocking=1',
      ...(sources.length > 0 || release ? changedLists(join(work, 'lists'), release) : []),
    ].flatMap((option) => ['-o', option]);
    const apt = (/** @type {string[]} */ ...args) =>
      execFileSync('apt-get', [...options, '-qq', ...args], {
        cwd: join(work, 'packages'),
        stdio: ['ignore', 'ignore', 'inherit'],
      });
    apt('update');
    if (packages.length > 0) apt('download', ...packages);
    if (sources.length > 0) apt('source', '--download-only', ...sources);
    use(join(work, 'packages'));
    return true;
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    console.error(`fetching ${[...packages, ...sources].join(', ')} failed: ${message}`);
    return false;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Copies the configured package lists into `folder`. Adds source packages, which few systems have
 * enabled, and replaces the release.
 *
 * @param {string} folder
 * @param {string | undefined} release
 * @returns {string[]} options of apt
 */
function changedLists(folder, release) {
  mkdirSync(folder);
  const current = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  if (current === undefined) throw new Error('/etc/os-release has no VERSION_CODENAME');
  const parts = '/etc/apt/sources.list.d';
  const lists = existsSync(parts) ? readdirSync(parts).map((name) => join(parts, name)) : [];
  for (const path of ['/etc/apt/sources.list', ...lists].filter((path) => existsSync(path))) {
    const text = readFileSync(path, 'utf8')
      .replace(/^deb\s.*$/gm, (line) => `${line}\n${line.replace('deb', 'deb-src')}`)
      .replace(/^Types:.*$/gm, 'Types: deb deb-src')
      .replaceAll(current, release ?? current);
    writeFileSync(join(folder, basename(path)), text);
  }
  return ['Dir::Etc::sourcelist=/dev/null', `Dir::Etc::sourceparts=${folder}`];
}
