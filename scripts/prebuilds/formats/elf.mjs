// What a shared library of Linux says about itself, by readelf, which reads files of every processor.

import { execFileSync } from 'node:child_process';

const SYSTEM = /^(libc|libm|libpthread|libdl|librt)\.so\.\d+$|^libc\.so$|^ld-linux.*\.so\.\d+$|^libc\.musl-.*\.so\.1$/;

/**
 * Returns the exported names, the needed version of the system, and faults: that it needs libraries
 * other than the C library's, functions of none, or a newer glibc than the target allows, that it
 * could be unloaded, or has symbols to strip.
 *
 * @param {string} path
 * @param {import('../../build/targets.mjs').Target} target
 * @returns {import('../examine.mjs').Findings}
 */
export function readElf(path, target) {
  /** @type {string[]} */
  const faults = [];
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
  const exported = symbols.flatMap(([, , , , binding = '', , section, name]) =>
    /^(GLOBAL|WEAK)$/.test(binding) && section !== 'UND' && name ? [name] : [],
  );
  // glibc's have versions. Those of musl have none, but there are no others in its library.
  const missing = symbols.flatMap(([, , , , binding = '', , section, name = '']) =>
    binding === 'GLOBAL' && section === 'UND' && name !== '' && !/^napi_|@/.test(name) ? [name] : [],
  );
  if (target.glibc !== undefined) faults.push(...missing.map((name) => `needs ${name} of an unknown library`));

  const versions = [...readelf('-V').matchAll(/GLIBC_(\d+(?:\.\d+)+)/g)].map(([, version = '']) => version);
  const glibc = versions.sort(compareVersions).at(-1);
  if (glibc !== undefined) {
    if (target.glibc === undefined) faults.push(`needs glibc ${glibc}`);
    else if (compareVersions(glibc, target.glibc) > 0) faults.push(`needs glibc ${glibc}, not ${target.glibc}`);
  }
  return { exported, system: glibc && `glibc ${glibc}`, faults };
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
