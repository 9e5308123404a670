// Packs the package as users get it.

import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hostTarget, prebuiltPath, target } from '../../scripts/build/targets.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** npm's own script, which runs on every system alike. */
export const npmCli = process.env.npm_execpath ?? '';
if (npmCli === '') throw new Error('run this with npm, such as npm run test:package');

/** The binary of this platform, in the package. */
export const binary = prebuiltPath(target(hostTarget()));

/**
 * Packs the package into a folder, and returns the path of the tarball. A missing binary for this
 * platform is added from build/Release, with a message.
 *
 * @param {string} folder
 * @param {(program: string, args: string[], options: { cwd?: string }) => { stdout: string }} run
 */
export function pack(folder, run) {
  const packed = run(process.execPath, [npmCli, 'pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root,
  });
  const answer = JSON.parse(packed.stdout);
  const tarball = join(folder, (Array.isArray(answer) ? answer[0] : Object.values(answer)[0]).filename);
  run('tar', ['-xzf', tarball, '-C', folder], {});
  const tree = join(folder, 'package');
  if (!existsSync(join(tree, binary))) {
    console.log(`${binary} was not prebuilt: the tests take build/Release/lowrank.node in its place`);
    mkdirSync(dirname(join(tree, binary)), { recursive: true });
    copyFileSync(join(root, 'build', 'Release', 'lowrank.node'), join(tree, binary));
    run('tar', ['-czf', tarball, '-C', folder, 'package'], {});
  }
  rmSync(tree, { recursive: true });
  return tarball;
}
