// What is required of a published binary, whatever built it: its size, and on Linux that it needs nothing but libc, libm
// and no younger glibc than was promised, and shows nothing but the two symbols of Node-API.

import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const SYSTEM = /^(libc|libm|libpthread|libdl|librt)\.so\.\d+$|^libc\.so$|^ld-linux.*\.so\.\d+$|^libc\.musl-.*\.so\.1$/;
const EXPORTS = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];

/**
 * @param {string} path of the binary
 * @param {ReturnType<import('./targets.mjs').target>} target
 * @returns {{ megabytes: number, packed: number, glibc?: string, faults: string[] }} sizes in MB, `packed` by gzip
 */
export function examine(path, target) {
  const megabytes = statSync(path).size / 1e6;
  const packed = gzipSync(readFileSync(path)).length / 1e6;
  const faults = [];
  if (megabytes > target.megabytes) faults.push(`${megabytes.toFixed(1)} MB, at most ${target.megabytes} are allowed`);
  if (target.platform !== 'linux') return { megabytes, packed, faults };

  // readelf reads the files of every architecture.
  const readelf = (...args) => execFileSync('readelf', ['-W', ...args, path], { encoding: 'utf8', maxBuffer: 1 << 28 });
  const dynamic = readelf('-d');
  for (const [, name] of dynamic.matchAll(/NEEDED.*\[(.*)\]/g)) {
    if (!SYSTEM.test(name)) faults.push(`needs ${name}`);
  }
  if (!/NODELETE/.test(dynamic)) faults.push('is not marked as never to be unloaded');
  if (/\.symtab/.test(readelf('-S'))) faults.push('is not stripped');

  const symbols = readelf('--dyn-syms')
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const defined = symbols.filter((s) => /^(GLOBAL|WEAK)$/.test(s[4]) && s[6] !== 'UND' && s[7]).map((s) => s[7]);
  const foreign = defined.filter((name) => !EXPORTS.includes(name));
  if (foreign.length > 0)
    faults.push(`shows ${foreign.length} symbols that it should not: ${foreign.slice(0, 5).join(', ')}`);
  if (!defined.includes(EXPORTS[0])) faults.push(`does not show ${EXPORTS[0]}`);

  const versions = [...readelf('-V').matchAll(/GLIBC_(\d+(?:\.\d+)+)/g)].map((match) => match[1]);
  const glibc = versions.sort(compareVersions).at(-1);
  if (target.glibc === undefined && glibc !== undefined) faults.push(`needs glibc ${glibc}`);
  else if (glibc && compareVersions(glibc, target.glibc) > 0) faults.push(`needs glibc ${glibc}, not ${target.glibc}`);
  return { megabytes, packed, glibc, faults };
}

function compareVersions(a, b) {
  const [x, y] = [a, b].map((version) => version.split('.').map(Number));
  const i = x.findIndex((part, index) => part !== y[index]);
  return i < 0 ? x.length - y.length : x[i] - (y[i] ?? -1);
}
