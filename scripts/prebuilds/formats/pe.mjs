// What a DLL of Windows says about itself. Source: Microsoft, PE Format (learn.microsoft.com).

import { readFileSync } from 'node:fs';

/** The system, and the C library that is a part of it since Windows 10. */
const SYSTEM = /^(kernel32|ntdll|advapi32|bcrypt|api-ms-win-crt-[\w-]+)\.dll$/i;
/** @type {Record<string, number>} */
const MACHINES = { x64: 0x8664, arm64: 0xaa64 };
const PE32_PLUS = 0x20b;
const HEADER = 24;
const DIRECTORIES = 112;
const SECTION = 40;
const IMPORT = 20;
/** The data directories by their places in the table. */
const [EXPORTS, IMPORTS, DELAYED] = [0, 1, 13];

/**
 * Returns the exported names, and faults: that it is for another processor, needs libraries other
 * than the system's, or has symbols to strip.
 *
 * @param {string} path
 * @param {{ arch: string }} target
 * @returns {import('../examine.mjs').Findings}
 */
export function readPe(path, { arch }) {
  const bytes = readFileSync(path);
  const u16 = (/** @type {number} */ at) => bytes.readUInt16LE(at);
  const u32 = (/** @type {number} */ at) => bytes.readUInt32LE(at);
  const text = (/** @type {number} */ at) => bytes.toString('latin1', at, bytes.indexOf(0, at));
  const start = u32(0x3c);
  if (text(start) !== 'PE' || u16(start + HEADER) !== PE32_PLUS) throw new Error(`${path} is no 64-bit DLL`);

  const sections = Array.from({ length: u16(start + 6) }, (_, i) => {
    const at = start + HEADER + u16(start + 20) + i * SECTION;
    return { address: u32(at + 12), size: u32(at + 16), place: u32(at + 20) };
  });
  const place = (/** @type {number} */ address) => {
    const section = sections.find((it) => address >= it.address && address < it.address + it.size);
    if (section === undefined) throw new Error(`${path} points outside of its sections`);
    return address - section.address + section.place;
  };
  const directory = (/** @type {number} */ index) => u32(start + HEADER + DIRECTORIES + 8 * index);

  /** @type {string[]} */
  const faults = [];
  if (u16(start + 4) !== MACHINES[arch]) faults.push(`is for another processor than ${arch}`);
  if (u32(start + 16) !== 0) faults.push('is not stripped');
  if (directory(DELAYED) !== 0) faults.push('loads a library late');
  if (directory(IMPORTS) !== 0) {
    for (let at = place(directory(IMPORTS)); u32(at + 12) !== 0; at += IMPORT) {
      const name = text(place(u32(at + 12)));
      if (!SYSTEM.test(name)) faults.push(`needs ${name}`);
    }
  }
  const table = directory(EXPORTS) === 0 ? undefined : place(directory(EXPORTS));
  const names = table === undefined ? 0 : u32(table + 24);
  const exported = Array.from({ length: names }, (_, i) => text(place(u32(place(u32((table ?? 0) + 32)) + 4 * i))));
  return { exported, faults };
}
