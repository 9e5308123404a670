// Tries the binary for Windows, prebuilds/win32-x64/lowrank.node, on Linux x64: wine runs the packed
// package on the Nodes of test/windows/package.json and on Bun. Needs wine (apt install wine wine64),
// the binary (npm run prebuilds -- win32-x64), a build (npm run build) and the npm registry or its
// cache. wine 8 runs neither Node 24 nor Deno, which reserve more address space than it has.
// Usage: npm run test:windows

import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked } from '../../scripts/build/locked.mjs';
import { prebuiltPath, target } from '../../scripts/build/targets.mjs';
import { kernelsOf } from '../../scripts/prebuilds/kernels.mjs';
import { checked, expect, run, summarize, test } from '../support/checklist.mjs';
import { home, prepare, windowsPath, wine, wineKilled } from './wine.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const windows = target('win32-x64');
/** The same kernels on both systems, so that they write the same bytes. */
const SAME = { OPENBLAS_CORETYPE: 'Haswell', LOWRANK_SIMD: 'avx2', OPENBLAS_NUM_THREADS: '2' };
const AT = ['--at', '1:fc_in:0.01'];

const folder = mkdtempSync(join(tmpdir(), 'lowrank-windows-'));
const main = join('node_modules', 'lowrank', 'dist', 'cli', 'main.js');

/** Installs the package as npm would, with its dependencies, and the files of a consumer. */
function install() {
  if (!existsSync(join(root, prebuiltPath(windows)))) {
    throw new Error(`${prebuiltPath(windows)} is missing: npm run prebuilds -- ${windows.name}`);
  }
  const packed = run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], { cwd: root });
  const answer = JSON.parse(packed.stdout);
  const { filename } = Array.isArray(answer) ? answer[0] : Object.values(answer)[0];
  run('tar', ['-xzf', filename], { cwd: folder });
  const modules = join(folder, 'node_modules');
  mkdirSync(modules);
  cpSync(join(folder, 'package'), join(modules, 'lowrank'), { recursive: true });
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  for (const name of Object.keys(dependencies)) {
    cpSync(join(root, 'node_modules', name), join(modules, name), { recursive: true });
  }
  cpSync(join(root, 'test/package/consumer'), folder, { recursive: true });
  cpSync(join(root, 'examples/noisy-recall/model'), join(folder, 'model'), { recursive: true });
  writeLargeModel();
}

/** Writes six matrices whose decompositions take seconds, so that a job can be killed halfway. */
function writeLargeModel() {
  const n = 1024;
  const bytes = 4 * n * n;
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const header = Object.fromEntries(
    names.map((name, i) => [name, { dtype: 'F32', shape: [n, n], data_offsets: [i * bytes, (i + 1) * bytes] }]),
  );
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const data = Float32Array.from({ length: names.length * n * n }, (_, i) => Math.sin(i * (1 + (i % 97))));
  writeFileSync(join(folder, 'large.safetensors'), Buffer.concat([length, text, Buffer.from(data.buffer)]));
}

/** @param {string} out */
function digests(out) {
  const files = readdirSync(join(folder, out)).sort();
  return files.map((name) => [name, readFileSync(join(folder, out, name)).toString('base64')].join()).join('\n');
}

/**
 * Uses the package on a Node for Windows.
 *
 * @param {string} node its executable
 */
async function onNode(node) {
  const where = `Node ${wine([node, '--version']).stdout.trim().slice(1)}`;
  const start = (/** @type {string[]} */ ...args) => wine([node, ...args], { cwd: folder, env: SAME });
  const major = where.split(' ')[1]?.split('.')[0];
  test(where, 'import', () => checked(start('import.mjs')));
  test(where, 'in two workers and the main thread', () => checked(start('worker.mjs')));
  test(where, 'AbortSignal', () => checked(start('abort.mjs')));
  test(where, 'lowrank doctor', () => doctor(start(main, 'doctor', '--json').stdout, 'Node'));
  test(where, 'lowrank laser, with the bytes of Linux', () => {
    start(main, 'laser', 'model', '-o', `out-${major}`, ...AT);
    expect(digests(`out-${major}`) === digests('out-linux'), 'the files differ');
  });
  test(where, 'lowrank plan, run and merge, with the same bytes', () => {
    const plan = `plan-${major}.json`;
    start(main, 'plan', 'model', '-o', `merged-${major}`, ...AT, '--shards', '2', '-f', plan);
    for (const shard of ['1/2', '2/2']) start(main, 'run', plan, '--shard', shard);
    start(main, 'merge', plan);
    expect(digests(`merged-${major}`) === digests('out-linux'), 'the files differ');
  });
  test(where, 'refuses an output that is there already', () => {
    const args = [node, main, 'laser', 'model', '-o', `out-${major}`, ...AT];
    const { stderr } = wine(args, { cwd: folder, env: SAME, status: 1 });
    expect(/already exists/.test(stderr), stderr);
  });
  const large = (/** @type {string} */ out) => [
    ...[node, main, 'laser', 'large.safetensors', '-o', out],
    ...['--tensor', '*:0.3', '--threads', '1'],
  ];
  const out = `resumed-${major}.safetensors`;
  /** @type {unknown} */
  let fault;
  try {
    await wineKilled(large(out), { cwd: folder, file: join(folder, `.${out}.lowrank`, 'journal') });
  } catch (error) {
    fault = error;
  }
  test(where, 'a job that is killed and resumed', () => {
    if (fault) throw fault;
    expect(!existsSync(join(folder, out)), 'the killed job was complete');
    wine(large(out), { cwd: folder });
    wine(large(`whole-${major}.safetensors`), { cwd: folder });
    const [resumed, whole] = [out, `whole-${major}.safetensors`].map((name) => readFileSync(join(folder, name)));
    expect(whole && resumed?.equals(whole), 'the files differ');
    const left = readdirSync(folder).filter((name) => name.startsWith('.'));
    expect(left.length === 0, `left behind: ${left.join(', ')}`);
  });
}

/**
 * Checks what `lowrank doctor --json` says, and returns its main facts.
 *
 * @param {string} stdout
 * @param {string} name of the host
 */
function doctor(stdout, name) {
  const { host, platform, system, addon, selfTest } = JSON.parse(stdout);
  expect(host.startsWith(name), `host ${host}`);
  expect(platform === windows.name && /^Windows 10\./.test(system), `${platform}, ${system}`);
  expect(selfTest.passed, JSON.stringify(selfTest));
  return `OpenBLAS ${addon.openblas} ${addon.kernel}, ${addon.simd}`;
}

prepare();
try {
  const nodes = join(home, 'nodes');
  installLocked(here, nodes, ['--force', '--os=win32', '--cpu=x64']);
  install();
  run(process.execPath, [main, 'laser', 'model', '-o', 'out-linux', ...AT], { cwd: folder, env: SAME });
  const [older = '', newer = ''] = ['node20', 'node22'].map((it) => join(nodes, 'node_modules', it, 'bin', 'node.exe'));
  await onNode(older);
  await onNode(newer);

  const renamed = join(folder, 'renamed.exe');
  copyFileSync(newer, renamed);
  test('renamed.exe', 'an executable of another name', () =>
    doctor(wine([renamed, main, 'doctor', '--json'], { cwd: folder }).stdout, 'Node'),
  );
  const bun = join(nodes, 'node_modules', 'bun', 'bin', 'bun.exe');
  test('Bun', 'import', () => checked(wine([bun, 'import.mjs'], { cwd: folder })));
  test('Bun', 'lowrank doctor', () => doctor(wine([bun, main, 'doctor', '--json'], { cwd: folder }).stdout, 'Bun'));

  const binary = windowsPath(join(folder, 'node_modules', 'lowrank', prebuiltPath(windows)));
  for (const kernel of kernelsOf(windows).choice) {
    test('kernels', kernel, () => {
      const script = `process.stdout.write(require(${JSON.stringify(binary)}).info().kernel)`;
      const { stdout } = wine([newer, '-e', script], { env: { OPENBLAS_CORETYPE: kernel } });
      expect(stdout.toLowerCase() === kernel.toLowerCase(), `it is ${stdout}`);
    });
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
summarize('windows');
