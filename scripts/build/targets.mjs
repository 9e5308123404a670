// The platforms that have a prebuilt binary. Targets with `zig` can be built on any Linux x64, the
// others only on the platform itself.

/**
 * @typedef {object} Limits
 * @property {string} [zig] the triple for zig; its last part is the oldest supported glibc
 * @property {string} [glibc] the newest glibc whose symbols the binary may need
 * @property {number} megabytes the largest allowed size of the binary
 *
 * @typedef {{ name: string, platform: string, arch: string, libc?: string } & Limits} Target
 */

/** scripts/prebuilds/examine.mjs checks the limits. @type {Record<string, Limits>} */
export const TARGETS = {
  'linux-x64-glibc': { zig: 'x86_64-linux-gnu.2.28', glibc: '2.28', megabytes: 27 },
  'linux-arm64-glibc': { zig: 'aarch64-linux-gnu.2.28', glibc: '2.28', megabytes: 20 },
  'linux-x64-musl': { zig: 'x86_64-linux-musl', megabytes: 12 },
  'linux-arm64-musl': { zig: 'aarch64-linux-musl', megabytes: 8 },
  'darwin-arm64': { megabytes: 40 },
  'darwin-x64': { megabytes: 40 },
  'win32-x64': { megabytes: 60 },
};

/** Returns the name of the platform that runs this. */
export function hostTarget() {
  const base = `${process.platform}-${process.arch}`;
  if (process.platform !== 'linux') return base;
  const report = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (process.report?.getReport());
  return `${base}-${report.header.glibcVersionRuntime ? 'glibc' : 'musl'}`;
}

/**
 * Lists the targets that can be built on this system: on Linux x64 all Linux ones, elsewhere the
 * host.
 */
export function targetsHere() {
  const host = hostTarget();
  return host === 'linux-x64-glibc' ? Object.keys(TARGETS).filter((name) => TARGETS[name]?.zig) : [host];
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
