import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LowRankError } from '../errors.js';
import { callSync } from './call.js';
import type { Addon } from './contract.js';
import { libc, platform, runtime, systemVersion } from './host.js';

/** The folder of this file: lib/addon/, dist/addon/, or wherever a bundler has put the code. */
const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const require = createRequire(import.meta.url);

let loaded: Addon | undefined;

/**
 * Returns the native addon, loaded at the first call: a build in this package, otherwise the
 * prebuilt binary for this platform, otherwise, for bundles, a `lowrank.node` beside the code.
 * `PREBUILDS_ONLY` in the environment skips the first.
 *
 * @throws {@link LowRankError} `ERR_ADDON` if none can be loaded, naming the existing ones and the
 *   command to run; `ERR_ARGUMENT` if `LOWRANK_SIMD` names instructions that this processor does
 *   not have.
 */
export function addon(): Addon {
  if (loaded === undefined) {
    const found = load();
    // Fails if LOWRANK_SIMD is wrong: before anything is computed, whichever kernels it would use.
    callSync(() => found.info(), {});
    loaded = found;
  }
  return loaded;
}

/**
 * Returns the kernels that compute on this machine, OpenBLAS' and our own, such as `SkylakeX
 * avx512`. Others round differently, so only the same kernels give the same bytes.
 */
export function kernels(): string {
  const { kernel, simd } = addon().info();
  return `${kernel} ${simd}`;
}

/** Returns the path of the binary that {@link addon} loads. Throws as it does. */
export function addonPath(): string {
  const path = candidates().find((candidate) => existsSync(candidate));
  if (path === undefined) throw missing();
  return path;
}

function candidates(): string[] {
  const c = libc();
  const prebuilt = join('prebuilds', platform, c ? `lowrank.${c}.node` : 'lowrank.node');
  const built = process.env.PREBUILDS_ONLY ? [] : [join(root, 'build', 'Release', 'lowrank.node')];
  return [...built, join(root, prebuilt), join(here, prebuilt), join(here, 'lowrank.node')];
}

function load(): Addon {
  const path = addonPath();
  try {
    return require(path) as Addon;
  } catch (cause) {
    throw missing(cause, path);
  }
}

function missing(cause?: unknown, path?: string): LowRankError {
  const system = [platform, systemVersion(), runtime()].join(', ');
  const why = path ? `${path} does not load: ${(cause as Error).message}` : `there is ${prebuilds()}`;
  return new LowRankError('ERR_ADDON', `no native binary of lowrank for ${system} (${why})`, { hint: hint(), cause });
}

/** Returns what to do without a binary, with the one command that builds from source. */
function hint(): string {
  const script = join(root, 'scripts', 'build', 'native.mjs');
  if (!existsSync(script)) {
    return 'This is a bundle: exclude lowrank from it, or copy its prebuilds/ folder beside the bundled file.';
  }
  const path = relative(process.cwd(), script);
  const command = `node ${JSON.stringify(path.startsWith('..') ? script : path)}`;
  return `Reinstall lowrank, or build it from source, with CMake and a C++ compiler: ${command}`;
}

/** Lists the existing prebuilt binaries by name. */
function prebuilds(): string {
  try {
    const folder = join(root, 'prebuilds');
    const names = readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => readdirSync(join(folder, name)).map((file) => `${name}/${file}`))
      .filter((name) => name.endsWith('.node'));
    return names.sort().join(', ') || 'no prebuilt binary';
  } catch {
    return 'no prebuilt binary';
  }
}
