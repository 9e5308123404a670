// Zig as a C and C++ compiler for other Linux systems than this one: it brings the headers and the link stubs of every
// glibc and of musl, so a binary built here also runs on an older system, another libc or another processor.
// ZIG names the program; else it is fetched from PyPI (package ziglang) into .build/zig/.

import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const home = fileURLToPath(new URL('../.build/zig', import.meta.url));
const VERSION = '0.17.1';

/** @returns {string} the path of the program */
export function findZig() {
  if (process.env.ZIG) return process.env.ZIG;
  const folder = join(home, VERSION);
  const zig = join(folder, 'ziglang', 'zig');
  if (existsSync(zig)) return zig;
  console.error(`fetching zig ${VERSION} from PyPI into .build/zig/`);
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(part, { recursive: true });
  const python = (...args) => execFileSync('python3', args, { cwd: part, stdio: ['ignore', 'ignore', 'inherit'] });
  python('-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', part, `ziglang==${VERSION}`);
  const wheel = readdirSync(part).find((name) => name.endsWith('.whl'));
  python('-m', 'zipfile', '-e', wheel, part);
  rmSync(join(part, wheel));
  // zipfile drops the permission bits.
  chmodSync(join(part, 'ziglang', 'zig'), 0o755);
  rmSync(folder, { recursive: true, force: true });
  renameSync(part, folder);
  return zig;
}

/**
 * Programs that CMake and make take for a cross compiler.
 *
 * @param {string} triple such as x86_64-linux-gnu.2.28
 * @returns {{ cc: string, cxx: string, ar: string, ranlib: string }}
 */
export function crossTools(triple) {
  const zig = findZig();
  const folder = join(home, triple);
  mkdirSync(folder, { recursive: true });
  const cache = join(home, 'cache');
  const write = (name, body) => {
    const path = join(folder, name);
    const head = `#!/bin/bash\nexport ZIG_GLOBAL_CACHE_DIR='${cache}' ZIG_LOCAL_CACHE_DIR='${cache}'\n`;
    writeFileSync(path, `${head}${body}\n`, { mode: 0o755 });
    return path;
  };
  // In the name of a processor zig takes a hyphen for a feature to subtract. Undefined behaviour is what OpenBLAS' C
  // code has in places, and zig would trap it.
  const compile = (language) => `args=()
for a in "$@"; do case $a in -march=*|-mtune=*) a=\${a//-/_}; a=\${a/_/-};; esac; args+=("$a"); done
exec '${zig}' ${language} -target ${triple} -fno-sanitize=undefined "\${args[@]}"`;
  return {
    cc: write('cc', compile('cc')),
    cxx: write('c++', compile('c++')),
    ar: write('ar', `exec '${zig}' ar "$@"`),
    ranlib: write('ranlib', `exec '${zig}' ranlib "$@"`),
  };
}
