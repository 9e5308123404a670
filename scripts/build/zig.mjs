// Provides zig as a C and C++ cross compiler for other Linux systems. It includes the headers and
// link stubs of every glibc and of musl, so a binary built here also runs on an older system, with
// another libc or on another processor. ZIG names the program; otherwise it is fetched from PyPI
// (package ziglang) into .build/zig/.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fromPyPI } from './pypi.mjs';

const home = fileURLToPath(new URL('../../.build/zig', import.meta.url));
const VERSION = '0.17.1';
const ZIG = {
  requirement: `ziglang==${VERSION}`,
  sha256: [
    // Linux, x86_64 and aarch64
    'ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54',
    'b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e',
  ],
};

/** Returns the path of zig, which is fetched if necessary. */
export function findZig() {
  return process.env.ZIG ?? fromPyPI(join(home, VERSION), ZIG, { program: 'ziglang/zig' });
}

/**
 * Writes wrapper scripts that CMake and make can use as a cross compiler.
 *
 * @param {string} triple such as x86_64-linux-gnu.2.28
 * @returns {{ cc: string, cxx: string, ar: string, ranlib: string }}
 */
export function crossTools(triple) {
  const zig = findZig();
  const folder = join(home, triple);
  mkdirSync(folder, { recursive: true });
  const cache = join(home, 'cache');
  const write = (/** @type {string} */ name, /** @type {string} */ body) => {
    const path = join(folder, name);
    const head = `#!/bin/bash\nexport ZIG_GLOBAL_CACHE_DIR='${cache}' ZIG_LOCAL_CACHE_DIR='${cache}'\n`;
    writeFileSync(path, `${head}${body}\n`, { mode: 0o755 });
    return path;
  };
  // Translate options that zig reads differently: to zig an architecture is a processor with
  // features, a hyphen in its name subtracts a feature, and -mtune acts like another -march.
  // OpenBLAS' C code has undefined behaviour in places, which zig would trap by default. Debugging
  // information, also a default, would only take time: what is published is stripped.
  const compile = (/** @type {'cc' | 'c++'} */ language) => `args=()
for a in "$@"; do
  case $a in
    -mtune=*) continue ;;
    -march=armv8-a*) a="-march=generic\${a#*-a}" ;;
    -march=armv8.[0-9]-a*) a="-march=generic+v8_\${a:13:1}a\${a#*-a}" ;;
    -march=*) a=\${a//-/_} a=-\${a#_} ;;
  esac
  args+=("$a")
done
exec '${zig}' ${language} -target ${triple} -fno-sanitize=undefined -g0 "\${args[@]}"`;
  return {
    cc: write('cc', compile('cc')),
    cxx: write('c++', compile('c++')),
    ar: write('ar', `exec '${zig}' ar "$@"`),
    ranlib: write('ranlib', `exec '${zig}' ranlib "$@"`),
  };
}
