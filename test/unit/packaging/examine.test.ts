import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { target } from '../../../scripts/build/targets.mjs';
import { examine } from '../../../scripts/prebuilds/examine.mjs';
import { temporaryFolder } from '../../support/folder.js';

const folder = temporaryFolder();
const EXPORTS = ['napi_register_module_v1', 'node_api_module_get_api_version_v1'];

function faultsOf(name: string, bytes: Buffer): string[] {
  const path = join(folder, 'binary.node');
  writeFileSync(path, bytes);
  return examine(path, target(name)).faults;
}

interface Dll {
  machine?: number;
  imports?: string[];
  exports?: string[];
  symbols?: number;
}

/** A DLL of one section, which holds its tables of imports and exports. */
function dll({ machine = 0x8664, imports = ['KERNEL32.dll'], exports = EXPORTS, symbols = 0 }: Dll = {}): Buffer {
  const bytes = Buffer.alloc(0x1400);
  const [address, place] = [0x1000, 0x400];
  let free = place + 0x200;
  const text = (value: string) => {
    bytes.write(value, free, 'latin1');
    free += value.length + 1;
    return free - value.length - 1 - place + address;
  };
  bytes.writeUInt32LE(0x80, 0x3c);
  bytes.write('PE', 0x80, 'latin1');
  bytes.writeUInt16LE(machine, 0x84);
  bytes.writeUInt16LE(1, 0x86);
  bytes.writeUInt32LE(symbols, 0x90);
  bytes.writeUInt16LE(240, 0x94);
  bytes.writeUInt16LE(0x20b, 0x98);
  const section = 0x98 + 240;
  bytes.writeUInt32LE(address, section + 12);
  bytes.writeUInt32LE(0x1000, section + 16);
  bytes.writeUInt32LE(place, section + 20);
  // Imports at the beginning of the section, exports and their names' addresses after them.
  bytes.writeUInt32LE(address + 0x100, 0x98 + 112);
  bytes.writeUInt32LE(address, 0x98 + 112 + 8);
  for (const [i, name] of imports.entries()) bytes.writeUInt32LE(text(name), place + 20 * i + 12);
  bytes.writeUInt32LE(exports.length, place + 0x100 + 24);
  bytes.writeUInt32LE(address + 0x180, place + 0x100 + 32);
  for (const [i, name] of exports.entries()) bytes.writeUInt32LE(text(name), place + 0x180 + 4 * i);
  return bytes;
}

describe('a DLL of Windows', () => {
  it('is sound if it needs the system alone and exports what Node calls', () => {
    expect(faultsOf('win32-x64', dll())).toEqual([]);
    expect(faultsOf('win32-arm64', dll({ machine: 0xaa64, imports: ['api-ms-win-crt-heap-l1-1-0.dll'] }))).toEqual([]);
  });

  it.each([
    [{ imports: ['NODE.EXE'] }, 'needs NODE.EXE'],
    [{ imports: ['KERNEL32.dll', 'VCRUNTIME140.dll'] }, 'needs VCRUNTIME140.dll'],
    [{ machine: 0xaa64 }, 'is for another processor than x64'],
    [{ symbols: 7 }, 'is not stripped'],
    [{ exports: [...EXPORTS, 'sgemm_'] }, 'exports 1 unexpected symbols: sgemm_'],
    [{ exports: [] }, 'does not export napi_register_module_v1'],
  ])('with %o is refused', (parts, fault) => {
    expect(faultsOf('win32-x64', dll(parts))).toEqual([fault]);
  });

  it('is told from other files', () => {
    expect(() => faultsOf('win32-x64', Buffer.alloc(4096))).toThrow('is no 64-bit DLL');
  });
});

interface Library {
  libraries?: string[];
  symbols?: [name: string, type: number, ordinal: number][];
  version?: number;
  signed?: boolean;
}

const [DEFINED, UNDEFINED] = [0x0f, 0x01];

/** A library of macOS for arm64: its load commands, symbols and a signature of one page. */
function library({
  libraries = ['/usr/lib/libSystem.B.dylib'],
  symbols = [],
  version = 11,
  signed = true,
}: Library = {}): Buffer {
  const all = [...EXPORTS.map((name): [string, number, number] => [`_${name}`, DEFINED, 0]), ...symbols];
  const bytes = Buffer.alloc(0x1000 + 4096);
  let at = 32;
  const command = (kind: number, size: number, fields: [number, number][]) => {
    bytes.writeUInt32LE(kind, at);
    bytes.writeUInt32LE(size, at + 4);
    for (const [offset, value] of fields) bytes.writeUInt32LE(value, at + offset);
    at += size;
  };
  bytes.writeUInt32LE(0xfeedfacf, 0);
  bytes.writeUInt32LE(0x0100000c, 4);
  bytes.writeUInt32LE(2 + libraries.length + Number(signed), 16);
  for (const name of libraries) {
    bytes.write(name, at + 24, 'latin1');
    command(0xc, 64, [[8, 24]]);
  }
  command(0x32, 24, [[12, version << 16]]);
  const [table, strings, signature] = [0x400, 0x800, 0x1000];
  command(0x2, 24, [
    [8, table],
    [12, all.length],
    [16, strings],
  ]);
  let free = strings + 1;
  for (const [i, [name, type, ordinal]] of all.entries()) {
    bytes.writeUInt32LE(free - strings, table + 16 * i);
    bytes[table + 16 * i + 4] = type;
    bytes[table + 16 * i + 7] = ordinal;
    free += bytes.write(name, free, 'latin1') + 1;
  }
  if (!signed) return bytes;
  command(0x1d, 16, [[8, signature]]);
  // One blob, the code directory, right after the index.
  bytes.writeUInt32BE(1, signature + 8);
  bytes.writeUInt32BE(20, signature + 16);
  const directory = signature + 20;
  bytes.writeUInt32BE(0xfade0c02, directory);
  bytes.writeUInt32BE(64, directory + 16);
  bytes.writeUInt32BE(1, directory + 28);
  bytes.writeUInt32BE(signature, directory + 32);
  bytes.set([32, 2, 0, 12], directory + 36);
  createHash('sha256')
    .update(bytes.subarray(0, signature))
    .digest()
    .copy(bytes, directory + 64);
  return bytes;
}

describe('a library of macOS', () => {
  it('is sound if only Node-API comes from an unknown library, and its signature fits', () => {
    const symbols: Library['symbols'] = [
      ['_malloc', UNDEFINED, 1],
      ['_napi_throw', UNDEFINED, 0xfe],
    ];
    expect(faultsOf('darwin-arm64', library({ symbols }))).toEqual([]);
  });

  it.each([
    [{ libraries: ['/usr/lib/libc++.1.dylib'] }, 'needs /usr/lib/libc++.1.dylib'],
    [{ version: 13 }, 'needs macOS 13.0, not aarch64-macos.11.0'],
    [{ signed: false }, 'is not signed'],
    [{ symbols: [['_sgemm_', UNDEFINED, 0xfe]] as Library['symbols'] }, 'needs _sgemm_ of an unknown library'],
    [{ symbols: [['__Znwm', DEFINED, 0]] as Library['symbols'] }, 'exports 1 unexpected symbols: _Znwm'],
    [{ symbols: [['lapack.cc', 0x64, 0]] as Library['symbols'] }, 'is not stripped: lapack.cc'],
  ])('with %o is refused', (parts, fault) => {
    expect(faultsOf('darwin-arm64', library(parts))).toEqual([fault]);
  });

  it('is refused if a byte changed after it was signed', () => {
    const bytes = library();
    bytes[0xf00] = 1;
    expect(faultsOf('darwin-arm64', bytes)).toEqual(['has a signature that does not fit its bytes']);
  });

  it('is for its processor', () => {
    expect(faultsOf('darwin-x64', library({ version: 10 }))).toContain('is for another processor than x64');
  });
});
