// Checks a published binary, whatever built it: its size, that it needs nothing but the system, in no
// newer version than documented, and that it exports only the two symbols of Node-API.

import { readFileSync, statSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { readElf } from './formats/elf.mjs';
import { readMachO } from './formats/macho.mjs';
import { readPe } from './formats/pe.mjs';

const REGISTER = 'napi_register_module_v1';
const EXPORTS = [REGISTER, 'node_api_module_get_api_version_v1'];

/**
 * @typedef {object} Findings
 * @property {string[]} exported names
 * @property {string} [system] what it needs of the system, such as `glibc 2.27` or `macOS 11.0`
 * @property {string[]} faults
 *
 * @typedef {import('../build/targets.mjs').Target} Target
 */

/** @type {Record<string, (path: string, target: Target) => Findings>} */
const READERS = { linux: readElf, darwin: readMachO, win32: readPe };

/**
 * Examines a binary.
 *
 * @param {string} path of the binary
 * @param {Target} target
 * @returns {{ megabytes: number, packed: number, system?: string, faults: string[] }} sizes in MB;
 *   `packed` is the size after gzip
 */
export function examine(path, target) {
  const megabytes = statSync(path).size / 1e6;
  const packed = gzipSync(readFileSync(path)).length / 1e6;
  const read = READERS[target.platform];
  if (read === undefined) throw new Error(`no reader for binaries of ${target.platform}`);
  const { exported, system, faults } = read(path, target);
  if (megabytes > target.megabytes) faults.push(`${megabytes.toFixed(1)} MB, at most ${target.megabytes} are allowed`);
  const foreign = exported.filter((name) => !EXPORTS.includes(name));
  if (foreign.length > 0) {
    faults.push(`exports ${foreign.length} unexpected symbols: ${foreign.slice(0, 5).join(', ')}`);
  }
  if (!exported.includes(REGISTER)) faults.push(`does not export ${REGISTER}`);
  return { megabytes, packed, system, faults };
}
