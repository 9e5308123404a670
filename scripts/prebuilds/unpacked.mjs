// Provides programs and libraries of Debian without installing them: packages are fetched without
// root and unpacked into folders below .build/try/.

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withApt } from '../build/apt.mjs';

/** Where the programs and libraries are kept. */
export const home = fileURLToPath(new URL('../../.build/try', import.meta.url));

/**
 * Returns a folder with the contents of Debian's packages for a processor, fetched if necessary.
 *
 * @param {string} name of the folder
 * @param {string[]} packages
 * @param {string} arch Node's name of the processor
 * @param {string} [release] another release of Debian than the running one
 * @throws if the packages cannot be fetched; apt prints the reason
 */
export function unpacked(name, packages, arch, release) {
  const tree = join(home, name);
  if (existsSync(tree)) return tree;
  mkdirSync(home, { recursive: true });
  const architecture = arch === 'x64' ? 'amd64' : arch;
  const wanted = { architectures: [architecture], packages: packages.map((it) => `${it}:${architecture}`), release };
  const fetched = withApt(wanted, (folder) => {
    for (const file of readdirSync(folder)) execFileSync('dpkg-deb', ['-x', join(folder, file), join(folder, 'tree')]);
    cpSync(join(folder, 'tree'), tree, { recursive: true, verbatimSymlinks: true });
  });
  if (!fetched) throw new Error(`cannot fetch ${packages.join(', ')}, see above`);
  return tree;
}
