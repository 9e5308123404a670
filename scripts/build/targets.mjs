// The platforms that have a prebuilt binary. All are built on Linux x64, with zig.

/**
 * @typedef {object} Limits
 * @property {string} zig the triple for zig; it ends with the oldest supported glibc or macOS
 * @property {string} [glibc] the newest glibc whose symbols the binary may need
 * @property {number} megabytes the largest allowed size of the binary
 *
 * @typedef {{ name: string, platform: string, arch: string, libc?: string } & Limits} Target
 */

/** scripts/prebuilds/examine.mjs checks the limits. @type {Record<string, Limits>} */
export const TARGETS = {
  'linux-x64-glibc': { zig: 'x86_64-linux-gnu.2.28', glibc: '2.28', megabytes: 10 },
  'linux-arm64-glibc': { zig: 'aarch64-linux-gnu.2.28', glibc: '2.28', megabytes: 8 },
  'linux-x64-musl': { zig: 'x86_64-linux-musl', megabytes: 10 },
  'linux-arm64-musl': { zig: 'aarch64-linux-musl', megabytes: 8 },
  'darwin-arm64': { zig: 'aarch64-macos.11.0', megabytes: 8 },
  // libc++ calls aligned_alloc, which is new in 10.15.
  'darwin-x64': { zig: 'x86_64-macos.10.15', megabytes: 10 },
  'win32-x64': { zig: 'x86_64-windows-gnu', megabytes: 10 },
  'win32-arm64': { zig: 'aarch64-windows-gnu', megabytes: 8 },
};

/** Returns the name of the platform that runs this. */
export function hostTarget() {
  const base = `${process.platform}-${process.arch}`;
  if (process.platform !== 'linux') return base;
  const report = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (process.report?.getReport());
  return `${base}-${report.header.glibcVersionRuntime ? 'glibc' : 'musl'}`;
}

/** Lists the targets that can be built on this system: all on Linux x64, none elsewhere. */
export function targetsHere() {
  return hostTarget() === 'linux-x64-glibc' ? Object.keys(TARGETS) : [];
}

/**
 * Returns the target of this name.
 *
 * @param {string} name
 * @returns {Target}
 * @throws if there is no such target
 */
export function target(name) {
  const limits = Object.hasOwn(TARGETS, name) ? TARGETS[name] : undefined;
  const [platform, arch, libc] = name.split('-');
  if (limits === undefined || platform === undefined || arch === undefined) {
    throw new Error(`${name} is no platform of this package; there are ${Object.keys(TARGETS).join(', ')}`);
  }
  return { name, platform, arch, libc, ...limits };
}

/**
 * Returns the path of a target's binary, relative to the package's root.
 *
 * @param {Pick<Target, 'platform' | 'arch' | 'libc'>} target
 */
export function prebuiltPath({ platform, arch, libc }) {
  return `prebuilds/${platform}-${arch}/lowrank${libc ? `.${libc}` : ''}.node`;
}
