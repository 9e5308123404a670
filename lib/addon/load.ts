import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { LowRankError } from '../errors.js';
import type { Addon } from './contract.js';

/** The package's own folder, from lib/addon/ as from dist/addon/. */
const root = fileURLToPath(new URL('../..', import.meta.url));
const require = createRequire(import.meta.url);

let loaded: Addon | undefined;

/**
 * The native addon, loaded at the first call: a build in this folder, else the prebuilt binary for this platform.
 *
 * @throws {@link LowRankError} `ERR_ADDON` when there is none that loads, saying what exists and what to run.
 */
export function addon(): Addon {
  loaded ??= load();
  return loaded;
}

/** Where the binary lies that {@link addon} loads. Throws as it does. */
export function addonPath(): string {
  try {
    return (require('node-gyp-build') as { resolve(folder: string): string }).resolve(root);
  } catch (cause) {
    throw missing(cause);
  }
}

function load(): Addon {
  const path = addonPath();
  try {
    return require(path) as Addon;
  } catch (cause) {
    throw missing(cause, path);
  }
}

function missing(cause: unknown, path?: string): LowRankError {
  const platform = `${process.platform}-${process.arch}, ${libc()}Node ${process.versions.node}`;
  const why = path ? `${path} does not load: ${(cause as Error).message}` : `none of: ${prebuilds()}`;
  return new LowRankError('ERR_ADDON', `no native binary of lowrank for ${platform} (${why})`, {
    hint: 'Build it from source: npm install in a checkout of the repository, with CMake and a C++ compiler.',
    cause,
  });
}

/** `glibc 2.36, `, `musl, ` or nothing, as Node reports it. */
function libc(): string {
  if (process.platform !== 'linux') return '';
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}, ` : 'musl, ';
}

function prebuilds(): string {
  try {
    const folders = readdirSync(`${root}/prebuilds`, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    return folders.map((entry) => entry.name).join(', ') || 'no prebuilt binary';
  } catch {
    return 'no prebuilt binary';
  }
}
