import { readFileSync } from 'node:fs';
import { release } from 'node:os';

/** The platform and the processor, by Node's names. */
export const platform = `${process.platform}-${process.arch}`;

/** Returns the libc of this process; undefined on platforms that have only one. */
export function libc(): 'glibc' | 'musl' | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    // The report knows it as well, but takes tens of milliseconds. Until 2.33 glibc's file had its
    // version in its name.
    return /\/libc(\.so\.6|-2\.\d+\.so)/.test(readFileSync('/proc/self/maps', 'latin1')) ? 'glibc' : 'musl';
  } catch {
    return glibcVersion() ? 'glibc' : 'musl';
  }
}

function glibcVersion(): string | undefined {
  // Deno invents this part of its report.
  if (process.versions.deno !== undefined) return undefined;
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime;
}

/**
 * Returns what binaries have to fit: the libc and its version on Linux, elsewhere the version of
 * the system, such as `glibc 2.36`, `musl`, `Windows 10.0.22631` or `Darwin 24.6.0`.
 */
export function systemVersion(): string {
  const c = libc();
  if (c !== undefined) return [c, c === 'glibc' && glibcVersion()].filter(Boolean).join(' ');
  const names: Partial<Record<NodeJS.Platform, string>> = { win32: 'Windows', darwin: 'Darwin' };
  return `${names[process.platform] ?? process.platform} ${release()}`;
}

/** Returns the program that runs this, such as `Node 22.20.0` or `Bun 1.4.5, as Node 26.3.0`. */
export function runtime(versions: NodeJS.ProcessVersions = process.versions): string {
  for (const [key, name] of [
    ['bun', 'Bun'],
    ['deno', 'Deno'],
    ['electron', 'Electron'],
  ] as const) {
    if (versions[key] !== undefined) return `${name} ${versions[key]}, as Node ${versions.node}`;
  }
  return `Node ${versions.node}`;
}
