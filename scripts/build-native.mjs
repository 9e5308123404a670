// Builds the addon with CMake (through cmake-js) and puts it at <outDir>/lowrank.node, by default build/Release.
// Usage: node scripts/build-native.mjs [outDir]
// LOWRANK_TARGET, a name in scripts/targets.mjs, builds for that Linux with zig, stripped; so scripts/prebuilds.mjs calls it.
// A checkout keeps what makes the next build fast: objects in .build/ and OpenBLAS in .openblas/. Where lowrank is a dependency
// there is no next build, so only the addon stays.

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
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked } from './locked.mjs';
import { findOpenBlas } from './openblas.mjs';
import { target } from './targets.mjs';
import { crossTools } from './zig.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const outDir = resolve(root, process.argv[2] ?? 'build/Release');
const wanted = process.env.LOWRANK_TARGET ? target(process.env.LOWRANK_TARGET) : undefined;
const arch = wanted?.arch ?? process.env.PREBUILD_ARCH ?? process.arch;
// Not build/: `node-gyp rebuild` owns that folder and empties it.
const workDir = join(root, '.build', `cmake-${wanted?.name ?? arch}`);
/** The published package has no sources of the TypeScript. */
const checkout = existsSync(join(root, 'lib'));

try {
  build();
  if (!checkout) {
    for (const name of ['.build', '.openblas']) rmSync(join(root, name), { recursive: true, force: true });
  }
} catch (error) {
  console.error(`lowrank: the native build failed: ${error.message}`);
  process.exitCode = 1;
}

function build() {
  const { library, extra, from } = findOpenBlas(wanted);
  const { cmakeJs, addonApi } = buildTools();
  const args = ['build', '--out', workDir, '--arch', arch, `--CDNODE_ADDON_API=${addonApi}`];
  args.push(`--CDOPENBLAS_LIBRARY=${library}`, `--CDOPENBLAS_EXTRA=${extra.join(';')}`);
  if (wanted?.zig) args.push(...crossOptions(wanted));
  forgetOther(args);
  try {
    execFileSync(process.execPath, [cmakeJs, ...args], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    console.error(`${error.stdout ?? ''}${error.stderr ?? ''}`.trim());
    throw new Error('CMake or the compiler stopped, see above');
  }
  const built = join(workDir, 'Release', 'lowrank.node');
  const result = join(outDir, 'lowrank.node');
  if (!same(built, result)) {
    mkdirSync(outDir, { recursive: true });
    // A process may have the old one mapped, and another build may be writing: it is replaced, from a name of its own.
    const copy = `${result}.${process.pid}`;
    place(built, copy);
    renameSync(copy, result);
    console.error(`built ${result.slice(root.length)} (${megabytes(result)} MB, OpenBLAS from ${from})`);
  }
}

/** cmake-js and node-addon-api: this checkout's, else, where lowrank is a dependency and they are not, fetched into .build/. */
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
    installLocked(join(root, 'scripts', 'tools', 'native'), tools);
    return find();
  }
}

function crossOptions({ zig, arch }) {
  const { cc, cxx, ar, ranlib } = crossTools(zig);
  return Object.entries({
    CMAKE_SYSTEM_NAME: 'Linux',
    CMAKE_SYSTEM_PROCESSOR: { x64: 'x86_64', arm64: 'aarch64' }[arch],
    CMAKE_C_COMPILER: cc,
    CMAKE_CXX_COMPILER: cxx,
    CMAKE_AR: ar,
    CMAKE_RANLIB: ranlib,
    // Else CMake's first question would be a whole program, for which zig compiles all of libc and libc++ once more.
    CMAKE_TRY_COMPILE_TARGET_TYPE: 'STATIC_LIBRARY',
    LOWRANK_ZIG: 'ON',
    LOWRANK_STRIP: 'ON',
  }).map(([name, value]) => `--CD${name}=${value}`);
}

/** cmake-js does not configure a second time: a folder that was configured with other options begins anew. */
function forgetOther(args) {
  const note = join(workDir, 'options.json');
  const options = JSON.stringify(args);
  try {
    if (readFileSync(note, 'utf8') === options) return;
  } catch {
    // There is no note yet.
  }
  rmSync(workDir, { recursive: true, force: true });
  mkdirSync(workDir, { recursive: true });
  writeFileSync(note, options);
}

/** On Linux as a second name of the same file, because linkers there remove what they replace, and never write into it. */
function place(built, path) {
  if (process.platform === 'linux') {
    try {
      return linkSync(built, path);
    } catch (error) {
      // Another file system, or one without links.
      if (error.syscall !== 'link') throw error;
    }
  }
  return copyFileSync(built, path);
}

/** Whether the copy is already there, so that a build without changes touches nothing. */
function same(a, b) {
  try {
    return statSync(a).size === statSync(b).size && readFileSync(a).equals(readFileSync(b));
  } catch {
    return false;
  }
}

function megabytes(path) {
  return (statSync(path).size / 1e6).toFixed(1);
}
