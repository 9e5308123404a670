import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

let found: string | undefined;

/**
 * Returns the version of this package, or `unknown` if a bundle has left out its package.json. A
 * job that another version started is not resumed: it may have been computed differently.
 */
export function packageVersion(): string {
  found ??= packageManifest()?.version ?? 'unknown';
  return found;
}

/**
 * Returns the folder of this package; undefined if a bundle has left out its package.json.
 */
export function packageFolder(): string | undefined {
  return packageManifest()?.folder;
}

/**
 * Finds the nearest package.json of this name: how far up it is depends on how the code was built.
 */
function packageManifest(): { readonly folder: string; readonly version: string | undefined } | undefined {
  let folder = dirname(fileURLToPath(import.meta.url));
  for (; folder !== dirname(folder); folder = dirname(folder)) {
    const manifest = join(folder, 'package.json');
    if (!existsSync(manifest)) continue;
    const { name, version } = JSON.parse(readFileSync(manifest, 'utf8')) as { name?: string; version?: string };
    if (name === 'lowrank') return { folder, version };
  }
  return undefined;
}
