// The platforms that have a prebuilt binary. Those with `zig` can be built on any Linux x64; the others only on themselves.

/**
 * `zig` is the triple, its last part the oldest glibc; `glibc` and `needs` are what the finished file may ask of the system
 * (checked by scripts/binary.mjs); `megabytes` is the largest size it may have.
 */
export const TARGETS = {
  'linux-x64-glibc': { zig: 'x86_64-linux-gnu.2.28', glibc: '2.28', megabytes: 27 },
  'linux-arm64-glibc': { zig: 'aarch64-linux-gnu.2.28', glibc: '2.28', megabytes: 20 },
  'linux-x64-musl': { zig: 'x86_64-linux-musl', megabytes: 12 },
  'linux-arm64-musl': { zig: 'aarch64-linux-musl', megabytes: 8 },
  'darwin-arm64': { megabytes: 40 },
  'darwin-x64': { megabytes: 40 },
  'win32-x64': { megabytes: 60 },
};

/** The name of the platform that runs this. */
export function hostTarget() {
  const base = `${process.platform}-${process.arch}`;
  if (process.platform !== 'linux') return base;
  return `${base}-${process.report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl'}`;
}

/** The platforms whose binaries can be built on this system: on Linux x64 all for Linux, elsewhere the system itself. */
export function targetsHere() {
  const host = hostTarget();
  return host === 'linux-x64-glibc' ? Object.keys(TARGETS).filter((name) => TARGETS[name].zig) : [host];
}

/** @returns {{ name: string, platform: string, arch: string, libc?: string, zig?: string, glibc?: string, megabytes: number }} */
export function target(name) {
  if (!Object.hasOwn(TARGETS, name)) {
    throw new Error(`${name} is no platform of this package; there are ${Object.keys(TARGETS).join(', ')}`);
  }
  const [platform, arch, libc] = name.split('-');
  return { name, platform, arch, libc, ...TARGETS[name] };
}

/** Where the binary of a target lies, from the package's root. */
export function prebuiltPath({ platform, arch, libc }) {
  return `prebuilds/${platform}-${arch}/lowrank${libc ? `.${libc}` : ''}.node`;
}
