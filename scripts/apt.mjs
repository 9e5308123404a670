// Packages of the Debian or Ubuntu that this is, for any of its architectures, and their sources, with a private state of apt:
// neither root nor a change of the system is needed. They come from where the system has its own.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/**
 * Downloads packages into a temporary folder and calls `use` with it. What apt downloads it has checked against the lists
 * that the distribution signs.
 *
 * @param {{ architectures: string[], packages: string[], sources?: string[], release?: string }} wanted by Debian's names, a
 *   version after =; `sources` are packages whose source is wanted, as it was packed; `release` is another one than this is
 * @param {(folder: string) => void} use
 * @returns {boolean} whether it went well; what went wrong is printed
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
    const apt = (...args) =>
      execFileSync('apt-get', [...options, '-qq', ...args], {
        cwd: join(work, 'packages'),
        stdio: ['ignore', 'ignore', 'inherit'],
      });
    apt('update');
    apt('download', ...packages);
    if (sources.length > 0) apt('source', '--download-only', ...sources);
    use(join(work, 'packages'));
    return true;
  } catch (error) {
    console.error(`fetching ${[...packages, ...sources].join(', ')} failed: ${error.message}`);
    return false;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The configured places of packages once more: with sources, which few systems ask for, and of another release. */
function changedLists(folder, release) {
  mkdirSync(folder);
  const [, current] = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'));
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
