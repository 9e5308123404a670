// What a library of macOS says about itself. Source: Apple's mach-o/loader.h and nlist.h, and
// cs_blobs.h for the signature.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

const SYSTEM = '/usr/lib/libSystem.B.dylib';
/** @type {Record<string, number>} */
const PROCESSORS = { x64: 0x01000007, arm64: 0x0100000c };
const MAGIC = 0xfeedfacf;
/** The load commands that matter. */
const SYMTAB = 0x2;
const LOAD_DYLIB = [0xc, 0x80000018, 0x8000001f];
const CODE_SIGNATURE = 0x1d;
const BUILD_VERSION = 0x32;
/** Bits of a symbol's type, and the library of one that is looked up in all. */
const DEBUGGING = 0xe0;
const PRIVATE = 0x10;
const KIND = 0x0e;
const EXTERNAL = 0x01;
const ANY_LIBRARY = 0xfe;
const CODE_DIRECTORY = 0xfade0c02;

/**
 * Returns the exported names, the oldest version of macOS, and faults: that it is for another
 * processor, needs libraries other than the system's, needs functions that neither the system nor
 * Node-API has, or has no sound signature, which arm64 demands.
 *
 * @param {string} path
 * @param {{ arch: string, zig: string }} target
 * @returns {import('../examine.mjs').Findings}
 */
export function readMachO(path, { arch, zig }) {
  const bytes = readFileSync(path);
  const u32 = (/** @type {number} */ at) => bytes.readUInt32LE(at);
  const text = (/** @type {number} */ at) => bytes.toString('latin1', at, bytes.indexOf(0, at));
  if (u32(0) !== MAGIC) throw new Error(`${path} is no 64-bit library of macOS`);
  /** @type {string[]} */
  const faults = [];
  if (u32(4) !== PROCESSORS[arch]) faults.push(`is for another processor than ${arch}`);

  /** @type {string[]} */
  const exported = [];
  /** @type {string[]} */
  const libraries = [];
  let system = '';
  let signed = false;
  const commands = Array.from({ length: u32(16) });
  let at = 32;
  for (const _ of commands) {
    const command = u32(at);
    if (LOAD_DYLIB.includes(command)) libraries.push(text(at + u32(at + 8)));
    if (command === BUILD_VERSION) system = `${u32(at + 12) >>> 16}.${(u32(at + 12) >>> 8) & 0xff}`;
    if (command === CODE_SIGNATURE) {
      signed = true;
      if (!soundSignature(bytes, u32(at + 8))) faults.push('has a signature that does not fit its bytes');
    }
    if (command === SYMTAB) readSymbols(u32(at + 8), u32(at + 12), u32(at + 16));
    at += u32(at + 4);
  }
  faults.push(...libraries.filter((name) => name !== SYSTEM).map((name) => `needs ${name}`));
  if (!zig.endsWith(`macos.${system}`)) faults.push(`needs macOS ${system || 'of an unknown version'}, not ${zig}`);
  if (arch === 'arm64' && !signed) faults.push('is not signed');
  return { exported, system: `macOS ${system}`, faults };

  /** @param {number} symbols @param {number} count @param {number} strings */
  function readSymbols(symbols, count, strings) {
    for (let i = 0; i < count; i++) {
      const symbol = symbols + 16 * i;
      const name = text(strings + u32(symbol));
      const type = bytes[symbol + 4] ?? 0;
      if (type & DEBUGGING) faults.push(`is not stripped: ${name}`);
      if (type & DEBUGGING || !(type & EXTERNAL)) continue;
      if (type & KIND) {
        if (!(type & PRIVATE)) exported.push(name.replace(/^_/, ''));
      } else if (bytes[symbol + 7] === ANY_LIBRARY && !name.startsWith('_napi_')) {
        faults.push(`needs ${name} of an unknown library`);
      }
    }
  }
}

/**
 * Whether the hashes of the signature are those of the pages before it.
 *
 * @param {Buffer} bytes
 * @param {number} start of the signature
 */
function soundSignature(bytes, start) {
  const u32 = (/** @type {number} */ at) => bytes.readUInt32BE(at);
  for (let i = 0; i < u32(start + 8); i++) {
    const at = start + u32(start + 16 + 8 * i);
    if (u32(at) !== CODE_DIRECTORY) continue;
    const [hashes, pages, limit] = [at + u32(at + 16), u32(at + 28), u32(at + 32)];
    const [size = 0, type, log2 = 0] = [bytes[at + 36], bytes[at + 37], bytes[at + 39]];
    const page = 2 ** log2;
    // Type 2 is SHA-256.
    if (type !== 2 || limit > start || pages !== Math.ceil(limit / page)) return false;
    for (let p = 0; p < pages; p++) {
      const hash = createHash('sha256').update(bytes.subarray(p * page, Math.min((p + 1) * page, limit)));
      if (
        !hash
          .digest()
          .subarray(0, size)
          .equals(bytes.subarray(hashes + p * size, hashes + (p + 1) * size))
      )
        return false;
    }
    return true;
  }
  return false;
}
