// Checks a published binary, whatever built it: its size, and on Linux that it needs only libc and
// libm, no newer glibc than documented, and exports only the two symbols of Node-API.

import { execFileSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const SYSTEM = /^(libc|libm|libpthread|libdl|librt)\.so\.\d+$|^libc\.so$|^ld-linux.*\.so\.\d+$|^libc\.musl-.*\.so\.1$/;
const REGISTER = 'napi_register_module_v1';
const EXPORTS = [REGISTER, 'node_api_module_get_api_version_v1'];

/**
 * Examines a binary.
 *
 * @param {string} path of the binary
 * @param {import('../build/targets.mjs').Target} target
 * @returns {{ megabytes: number, packed: number, glibc?: string, faults: string[] }} sizes in MB;
 *   `packed` is the size after gzip
 */
export function examine(path, target) {
  const megabytes = statSync(path).size / 1e6;
  const packed = gzipSync(readFileSync(path)).length / 1e6;
  /** @type {string[]} */
  const faults = [];
  if (megabytes > target.megabytes) faults.push(`${megabytes.toFixed(1)} MB, at most ${target.megabytes} are allowed`);
  if (target.platform !== 'linux') return { megabytes, packed, faults };

  // readelf reads files of every architecture.
  const readelf = (/** @type {string[]} */ ...args) =>
    execFileSync('readelf', ['-W', ...args, path], { encoding: 'utf8', maxBuffer: 1 << 28 });
  const dynamic = readelf('-d');
  for (const [, name = ''] of dynamic.matchAll(/NEEDED.*\[(.*)\]/g)) {
    if (!SYSTEM.test(name)) faults.push(`needs ${name}`);
  }
  if (!/NODELETE/.test(dynamic)) faults.push('is not marked NODELETE, so it could be unloaded');
  if (/\.symtab/.test(readelf('-S'))) faults.push('is not stripped');

  const symbols = readelf('--dyn-syms')
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const defined = symbols.flatMap(([, , , , binding = '', , section, name]) =>
    /^(GLOBAL|WEAK)$/.test(binding) && section !== 'UND' && name ? [name] : [],
  );
  const foreign = defined.filter((name) => !EXPORTS.includes(name));
  if (foreign.length > 0) {
    faults.push(`exports ${foreign.length} unexpected symbols: ${foreign.slice(0, 5).join(', ')}`);
  }
  if (!defined.includes(REGISTER)) faults.push(`does not export ${REGISTER}`);

  const versions = [...readelf('-V').matchAll(/GLIBC_(\d+(?:\.\d+)+)/g)].map(([, version = '']) => version);
  const glibc = versions.sort(compareVersions).at(-1);
  if (glibc !== undefined) {
    if (target.glibc === undefined) faults.push(`needs glibc ${glibc}`);
    else if (compareVersions(glibc, target.glibc) > 0) faults.push(`needs glibc ${glibc}, not ${target.glibc}`);
  }
  return { megabytes, packed, glibc, faults };
}

/**
 * Compares dotted versions part by part; a missing part is less than any number.
 *
 * @param {string} a
 * @param {string} b
 */
function compareVersions(a, b) {
  const [x, y] = /** @type {[number[], number[]]} */ ([a, b].map((version) => version.split('.').map(Number)));
  for (let i = 0; i < Math.max(x.length, y.length); i++) {
    const difference = (x[i] ?? -1) - (y[i] ?? -1);
    if (difference !== 0) return difference;
  }
  return 0;
}
