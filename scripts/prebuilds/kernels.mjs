// The kernels of OpenBLAS in the published binaries. On x64 each costs some 0.4 MB, so of kernels with
// the same code for single and double precision there is one: Zen's processors run Haswell's, Cooper
// Lake's run SkylakeX', and AMD's before Zen the newest of Intel's that they can run. On arm64 they
// are small, and there are all.

/**
 * @typedef {object} Kernels
 * @property {string} target OpenBLAS' name of the oldest processor that can run the rest of the code
 * @property {string[]} choice kernels to choose from at run time, oldest processor first; empty if
 *   all of it is for `target`
 * @property {boolean} [all] whether the library has all kernels, so that none need be listed
 */

/** @type {Kernels} */
const X64 = { target: 'GENERIC', choice: ['Prescott', 'Nehalem', 'Sandybridge', 'Haswell', 'SkylakeX'] };
/** @type {Kernels} */
const ARM64 = {
  target: 'ARMV8',
  all: true,
  choice: [
    ...['armv8', 'cortexa53', 'cortexa57', 'cortexa72', 'cortexa73', 'falkor', 'thunderx', 'thunderx2t99'],
    ...['tsv110', 'emag8180', 'neoversen1'],
  ],
};

/**
 * Returns the kernels of a target's binary.
 *
 * @param {{ platform: string, arch: string }} target
 * @returns {Kernels}
 */
export function kernelsOf({ platform, arch }) {
  if (arch === 'x64') return X64;
  if (platform === 'linux') return ARM64;
  // OpenBLAS 0.3.21 tells processors apart by Linux' means alone. Every Mac runs Vortex' code, and
  // the A57's is for every 64-bit processor that Windows runs on. Neither touches the register x18,
  // which both systems keep for themselves; other kernels do.
  return { target: platform === 'darwin' ? 'VORTEX' : 'CORTEXA57', choice: [] };
}
