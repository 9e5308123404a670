// Packages of the Debian or Ubuntu that this is, for any of its architectures, with a private state of apt: neither root nor
// a change of the system is needed.

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Downloads packages into a temporary folder and calls `use` with it.
 *
 * @param {string[]} architectures by Debian's names
 * @param {string[]} packages
 * @param {(folder: string) => void} use
 * @returns {boolean} whether it went well; what went wrong is printed
 */
export function withApt(architectures, packages, use) {
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
    ].flatMap((option) => ['-o', option]);
    const apt = (...args) =>
      execFileSync('apt-get', [...options, '-qq', ...args], {
        cwd: join(work, 'packages'),
        stdio: ['ignore', 'ignore', 'inherit'],
      });
    apt('update');
    apt('download', ...packages);
    use(join(work, 'packages'));
    return true;
  } catch (error) {
    console.error(`fetching ${packages.join(', ')} failed: ${error.message}`);
    return false;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
