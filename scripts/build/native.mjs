// Builds the addon with CMake (through cmake-js) and writes <outDir>/lowrank.node, in build/Release
// by default.
// Usage: node scripts/build/native.mjs [outDir]
// LOWRANK_TARGET names a target of scripts/build/targets.mjs: the addon is then built for that
// system with zig, and stripped. scripts/prebuilds/build.mjs sets it. A checkout keeps objects in
// .build/ and OpenBLAS in .openblas/ to speed up the next build. An installed package has no next
// build, so it keeps only the addon.

import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked } from './locked.mjs';
import { findOpenBlas } from './openblas.mjs';
import { target } from './targets.mjs';
import { crossTools } from './zig.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const outDir = resolve(root, process.argv[2] ?? 'build/Release');
const wanted = process.env.LOWRANK_TARGET ? target(process.env.LOWRANK_TARGET) : undefined;
const arch = wanted?.arch ?? process.env.PREBUILD_ARCH ?? process.arch;
// Not in build/, which `node-gyp rebuild` empties.
const workDir = join(root, '.build', `cmake-${wanted?.name ?? arch}`);
/** Whether this is a checkout: the published package has no TypeScript sources. */
const checkout = existsSync(join(root, 'lib'));
/** CMake's names of Node's platforms. @type {Record<string, string>} */
const SYSTEMS = { linux: 'Linux', darwin: 'Darwin', win32: 'Windows' };

try {
  build();
  if (!checkout) {
    for (const name of ['.build', '.openblas']) rmSync(join(root, name), { recursive: true, force: true });
  }
} catch (error) {
  console.error(`lowrank: the native build failed: ${/** @type {Error} */ (error).message}`);
  process.exitCode = 1;
}

function build() {
  const { library, extra, from } = findOpenBlas(wanted);
  const { cmakeJs, addonApi } = buildTools();
  const args = ['build', '--out', workDir, '--arch', arch, `--CDNODE_ADDON_API=${addonApi}`];
  args.push('--parallel', String(availableParallelism()));
  args.push(`--CDOPENBLAS_LIBRARY=${library}`, `--CDOPENBLAS_EXTRA=${extra.join(';')}`);
  if (wanted) args.push(...crossOptions(wanted));
  discardOtherOptions(args);
  try {
    execFileSync(process.execPath, [cmakeJs, ...args], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    const { stdout, stderr } = /** @type {{ stdout?: string, stderr?: string }} */ (error);
    console.error(`${stdout ?? ''}${stderr ?? ''}`.trim());
    throw new Error('CMake or the compiler failed, see above');
  }
  const built = join(workDir, 'Release', 'lowrank.node');
  const result = join(outDir, 'lowrank.node');
  if (!same(built, result)) {
    mkdirSync(outDir, { recursive: true });
    // Replace the file by a rename, under a unique temporary name: a process may have the old one
    // mapped, and another build may be writing.
    const copy = `${result}.${process.pid}`;
    place(built, copy);
    renameSync(copy, result);
    console.error(`built ${result.slice(root.length)} (${megabytes(result)} MB, OpenBLAS from ${from})`);
  }
}

/**
 * Finds cmake-js and node-addon-api. A checkout has them; an installed package fetches them into
 * .build/.
 */
function buildTools() {
  const tools = join(root, '.build', 'tools');
  const find = () => {
    const require = createRequire(import.meta.url);
    const paths = [root, tools];
    return {
      cmakeJs: require.resolve('cmake-js/bin/cmake-js', { paths }),
      addonApi: dirname(require.resolve('node-addon-api/package.json', { paths })),
    };
  };
  try {
    return find();
  } catch {
    console.error('fetching cmake-js and node-addon-api into .build/tools/');
    installLocked(join(root, 'scripts', 'build', 'tools'), tools);
    return find();
  }
}

/**
 * Returns CMake's options for building with zig.
 *
 * @param {import('./targets.mjs').Target} target
 */
function crossOptions({ zig, platform, arch }) {
  const { cc, cxx, ar, ranlib } = crossTools(zig);
  return Object.entries({
    CMAKE_SYSTEM_NAME: SYSTEMS[platform],
    CMAKE_SYSTEM_PROCESSOR: arch === 'x64' ? 'x86_64' : 'aarch64',
    CMAKE_C_COMPILER: cc,
    CMAKE_CXX_COMPILER: cxx,
    CMAKE_AR: ar,
    CMAKE_RANLIB: ranlib,
    // By default CMake first links a whole program, for which zig compiles all of libc and libc++.
    CMAKE_TRY_COMPILE_TARGET_TYPE: 'STATIC_LIBRARY',
    // CMake demands it for macOS, to install what it built. Nothing is installed.
    ...(platform === 'darwin' ? { CMAKE_INSTALL_NAME_TOOL: 'install_name_tool' } : {}),
    LOWRANK_ZIG: 'ON',
    LOWRANK_STRIP: 'ON',
  }).map(([name, value]) => `--CD${name}=${value}`);
}

/**
 * Empties the work folder if it was configured with other options, because cmake-js does not
 * configure a folder twice.
 *
 * @param {string[]} args
 */
function discardOtherOptions(args) {
  const note = join(workDir, 'options.json');
  const options = JSON.stringify(args);
  try {
    if (readFileSync(note, 'utf8') === options) return;
  } catch {
    // Not configured yet.
  }
  rmSync(workDir, { recursive: true, force: true });
  mkdirSync(workDir, { recursive: true });
  writeFileSync(note, options);
}

/**
 * Copies the addon to `path`. On Linux a hard link is enough, because linkers there never write
 * into an existing file.
 *
 * @param {string} built
 * @param {string} path
 */
function place(built, path) {
  if (process.platform === 'linux') {
    try {
      return linkSync(built, path);
    } catch (error) {
      // Another file system, or one without links.
      if (/** @type {NodeJS.ErrnoException} */ (error).syscall !== 'link') throw error;
    }
  }
  return copyFileSync(built, path);
}

/**
 * Whether two files have equal contents, so that a build without changes touches nothing.
 *
 * @param {string} a
 * @param {string} b
 */
function same(a, b) {
  try {
    return statSync(a).size === statSync(b).size && readFileSync(a).equals(readFileSync(b));
  } catch {
    return false;
  }
}

/** @param {string} path */
function megabytes(path) {
  return (statSync(path).size / 1e6).toFixed(1);
}
