// Tests what users get: packs the package, installs it with install scripts blocked into empty
// projects, and uses it there like a program, on every supported Node and npm. Needs a build
// (npm run build) and the npm registry or its cache.
// Usage: npm run test:package

import { spawnSync } from 'node:child_process';
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
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import esbuild from 'esbuild';
import { installLocked } from '../../scripts/build/locked.mjs';
import { hostTarget, prebuiltPath, target } from '../../scripts/build/targets.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const require = createRequire(import.meta.url);
const scratch = mkdtempSync(join(tmpdir(), 'lowrank-package-'));
const binary = prebuiltPath(target(hostTarget()));

/** The oldest Node of package.json, and each release line since, with its usual npm. */
const NODES = [
  { name: '20.17', npm: '10' },
  { name: '20', npm: '10' },
  { name: '22', npm: '11' },
  { name: '24', npm: '11' },
  { name: '26', npm: '12' },
];

class Fault extends Error {}
/** @typedef {{ name: string, bin: string, node: string, npm: string, npx: string }} Kit a Node with its npm, by their paths */
/** @type {{ where: string, name: string, passed: boolean }[]} */
const rows = [];

/**
 * Runs a program and returns its output; the test fails if it ends with another status.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, status?: number }} [options]
 */
function run(program, args, { cwd, env, status = 0 } = {}) {
  const done = spawnSync(program, args, {
    cwd,
    env: { ...clean(), ...env },
    encoding: 'utf8',
    timeout: 240_000,
    maxBuffer: 1 << 26,
  });
  if (done.status === status) return done;
  const end = done.error?.message ?? done.signal ?? `exit code ${done.status}`;
  throw new Fault(`${args.join(' ')}: ${end}\n${done.stdout}${done.stderr}`);
}

/**
 * This process' environment without npm's variables, and without those that select another binary.
 */
function clean() {
  const entries = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|PREBUILDS_ONLY|NODE_PATH|NODE_OPTIONS)/i.test(name),
  );
  return Object.fromEntries(entries);
}

/**
 * @param {unknown} condition
 * @param {string} message
 * @returns {asserts condition}
 */
function expect(condition, message) {
  if (!condition) throw new Fault(message);
}

/**
 * Runs a test, which passes unless it throws, and prints the note that it returns.
 *
 * @param {string} where
 * @param {string} name
 * @param {() => string | void} body
 */
function test(where, name, body) {
  const begin = performance.now();
  /** @type {unknown} */
  let fault;
  let note = '';
  try {
    note = body() ?? '';
  } catch (error) {
    fault = error;
  }
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  rows.push({ where, name, passed: !fault });
  console.log(
    `${fault ? 'FAILED' : 'passed'}  ${where.padEnd(16)} ${name.padEnd(44)} ${seconds.padStart(6)} s  ${note}`,
  );
  if (!fault) return;
  const text = fault instanceof Fault || !(fault instanceof Error) ? String(fault) : (fault.stack ?? fault.message);
  console.log(text.replace(/^/gm, '        '));
}

/**
 * Installs the Nodes and npms to test with, from test/package/nodes/, in .build/nodes/.
 *
 * @returns {Kit[]}
 */
function fetchNodes() {
  const system = `${process.platform}-${process.arch}`;
  if (system !== 'linux-x64') {
    throw new Fault(`test/package/nodes/ has Nodes for linux-x64, not for ${system}: put those into its package.json`);
  }
  const folder = join(root, '.build', 'nodes');
  installLocked(join(here, 'nodes'), folder);
  const modules = join(folder, 'node_modules');
  return NODES.map(({ name, npm }) => {
    const bin = join(modules, `node${name}`, 'bin');
    const node = join(bin, 'node');
    const script = (/** @type {string} */ file) => join(modules, `npm${npm}`, 'bin', file);
    return { name, bin, node, npm: script('npm-cli.js'), npx: script('npx-cli.js') };
  });
}

/**
 * Packs the package. A missing binary for this platform is added from build/Release, with a
 * message.
 */
function pack() {
  const packed = run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', scratch], { cwd: root });
  const answer = JSON.parse(packed.stdout);
  const tarball = join(scratch, (Array.isArray(answer) ? answer[0] : Object.values(answer)[0]).filename);
  run('tar', ['-xzf', tarball, '-C', scratch], {});
  const tree = join(scratch, 'package');
  if (!existsSync(join(tree, binary))) {
    console.log(`${binary} was not prebuilt: the tests take build/Release/lowrank.node in its place`);
    mkdirSync(dirname(join(tree, binary)), { recursive: true });
    copyFileSync(join(root, 'build', 'Release', 'lowrank.node'), join(tree, binary));
    run('tar', ['-czf', tarball, '-C', scratch, 'package'], {});
  }
  rmSync(tree, { recursive: true });
  return tarball;
}

/** Makes an empty project that has the consumer's files. @param {string} name */
function project(name) {
  const folder = join(scratch, name);
  mkdirSync(folder);
  cpSync(join(here, 'consumer'), folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
  return folder;
}

/**
 * @param {Kit} kit
 * @param {string} folder
 * @param {string[]} packages
 */
function install({ node, npm, bin }, folder, ...packages) {
  const args = [npm, 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', ...packages];
  run(node, args, { cwd: folder, env: { PATH: bin + delimiter + process.env.PATH } });
}

/** @param {{ stdout: string }} output */
function checked({ stdout }) {
  expect(stdout.trim() === 'checked', `printed ${JSON.stringify(stdout)}`);
}

/** Whether this Node can require() an ES module, as 20.19 and 22.12 can. @param {string} node */
function requires(node) {
  return run(node, ['-p', 'process.features.require_module === true']).stdout.trim() === 'true';
}

/**
 * Installs and uses the package on one Node.
 *
 * @param {Kit} kit
 * @param {string} tarball
 */
function onNode(kit, tarball) {
  const folder = project(`node-${kit.name}`);
  const where = `Node ${run(kit.node, ['-p', 'process.versions.node'], {}).stdout.trim()}`;
  const version = run(kit.node, [kit.npm, '--version'], {}).stdout.trim();
  test(where, `install with npm ${version}, scripts blocked`, () => {
    install(kit, folder, tarball);
    expect(!existsSync(join(folder, 'node_modules/lowrank/build')), 'something was built');
    expect(existsSync(join(folder, 'node_modules/lowrank', binary)), `${binary} is not in the package`);
  });
  test(where, 'import', () => checked(run(kit.node, ['import.mjs'], { cwd: folder })));
  if (requires(kit.node)) {
    test(where, 'require', () => checked(run(kit.node, ['require.cjs'], { cwd: folder })));
  } else {
    test(where, 'require, which this Node cannot: says so', () => {
      const { stderr } = run(kit.node, ['require.cjs'], { cwd: folder, status: 1 });
      expect(/ERR_REQUIRE_ESM/.test(stderr) && /dynamic import\(\)/.test(stderr), stderr);
      return 'ERR_REQUIRE_ESM, naming import()';
    });
  }
  test(where, 'in two workers and the main thread', () => checked(run(kit.node, ['worker.mjs'], { cwd: folder })));
  test(where, 'npx lowrank laser, on a model', () => {
    cpSync(join(root, 'examples/noisy-recall/model'), join(folder, 'model'), { recursive: true });
    const args = [kit.npx, '--no', 'lowrank', 'laser', 'model', '-o', 'out', '--at', '1:fc_in:0.01', '--json'];
    const env = { PATH: kit.bin + delimiter + process.env.PATH };
    const { edits } = JSON.parse(run(kit.node, args, { cwd: folder, env }).stdout);
    expect(edits?.length === 1 && edits[0].rank === 1, `edits: ${JSON.stringify(edits)}`);
    const weights = (/** @type {string} */ name) => readFileSync(join(folder, name, 'model.safetensors'));
    const [before, after] = [weights('model'), weights('out')];
    expect(
      before.length === after.length && !before.equals(after),
      'the model is not one of the same size and other weights',
    );
  });
  test(where, 'npx lowrank compress, which writes its loader', () => {
    rmSync(join(folder, 'model', 'model.onnx'));
    const args = [kit.npx, '--no', 'lowrank', 'compress', 'model', '-o', 'small', '--keep', '0.9', '--uncalibrated'];
    run(kit.node, args, { cwd: folder, env: { PATH: kit.bin + delimiter + process.env.PATH } });
    const loader = readFileSync(join(folder, 'small', 'lowrank_loader.py'), 'utf8');
    expect(loader.includes('def load('), 'lowrank_loader.py is not the loader');
  });
  return folder;
}

/** @param {Kit} kit @param {string} folder */
function bundled({ node }, folder) {
  const bundle = (/** @type {string} */ name, /** @type {import('esbuild').BuildOptions} */ options) =>
    esbuild.buildSync({
      entryPoints: [join(folder, 'import.mjs')],
      outfile: join(folder, name, 'app.mjs'),
      bundle: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'silent',
      // For the bundled CommonJS.
      banner: { js: "import { createRequire as r } from 'node:module'; const require = r(import.meta.url);" },
      ...options,
    });
  test('esbuild', 'bundled, with lowrank external', () => {
    bundle('external', { external: ['lowrank'] });
    checked(run(node, ['external/app.mjs'], { cwd: folder }));
  });
  const whole = mkdtempSync(join(scratch, 'bundle-'));
  test('esbuild', 'bundled whole, alone: says what is missing', () => {
    bundle('whole', {});
    copyFileSync(join(folder, 'whole/app.mjs'), join(whole, 'app.mjs'));
    const { stderr } = run(node, ['app.mjs'], { cwd: whole, status: 1 });
    expect(/ERR_ADDON/.test(stderr) && /prebuilds\/ folder beside/.test(stderr), stderr);
  });
  test('esbuild', 'bundled whole, prebuilds/ copied beside', () => {
    cpSync(join(folder, 'node_modules/lowrank/prebuilds'), join(whole, 'prebuilds'), { recursive: true });
    checked(run(node, ['app.mjs'], { cwd: whole }));
  });
  test('esbuild', 'bundled whole, the .node copied beside', () => {
    rmSync(join(whole, 'prebuilds'), { recursive: true });
    copyFileSync(join(folder, 'node_modules/lowrank', binary), join(whole, 'lowrank.node'));
    checked(run(node, ['app.mjs'], { cwd: whole }));
  });
}

/** @param {Kit} kit @param {string} folder */
function typed({ node }, folder) {
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc');
  const common = ['--strict', '--noEmit', '--target', 'es2022', '--types', 'node'];
  common.push('--typeRoots', join(root, 'node_modules', '@types'));
  // TypeScript before 6 falls back to node10 for CommonJS, which supports "typesVersions" instead
  // of "exports".
  common.push('--ignoreDeprecations', '6.0');
  const kinds = { node10: 'commonjs', node16: 'node16', nodenext: 'nodenext', bundler: 'esnext' };
  for (const [resolution, module] of Object.entries(kinds)) {
    test('TypeScript', `a consumer's file, ${resolution} resolution`, () => {
      // A .mts file, so that node16 sees an ES module.
      copyFileSync(join(folder, 'types.ts'), join(folder, 'types.mts'));
      run(node, [tsc, ...common, '--module', module, '--moduleResolution', resolution, 'types.mts'], { cwd: folder });
    });
  }
}

/** @param {Kit} kit @param {string} folder */
function withoutBinary({ node, bin }, folder) {
  const installed = join(folder, 'node_modules/lowrank');
  let command = '';
  test('no binary', 'the error says what is needed', () => {
    rmSync(join(installed, binary));
    mkdirSync(join(installed, 'prebuilds/plan9-mips'), { recursive: true });
    writeFileSync(join(installed, 'prebuilds/plan9-mips/lowrank.node'), '');
    const program = `import('lowrank').then((m) => m.svd(m.tensor(new Float32Array(1), [1, 1])))
      .catch(({ code, message, hint }) => console.log(JSON.stringify({ code, message, hint })))`;
    const error = JSON.parse(run(node, ['-e', program], { cwd: folder }).stdout);
    expect(error.code === 'ERR_ADDON', `code ${error.code}`);
    const version = run(node, ['-p', 'process.versions.node'], {}).stdout.trim();
    const parts = [`${process.platform}-${process.arch}`, `Node ${version}`, 'plan9-mips/lowrank.node'];
    if (process.platform === 'linux') parts.push(String(hostTarget().split('-')[2]));
    for (const part of parts) expect(error.message.includes(part), `not named: ${part}, in ${error.message}`);
    command = /node "[^"]+"$/.exec(error.hint)?.[0] ?? '';
    expect(command, `no command in the hint: ${error.hint}`);
    return command;
  });
  test('no binary', 'a binary that does not load: says why', () => {
    writeFileSync(join(installed, binary), 'not a binary');
    const { stderr } = run(node, ['import.mjs'], { cwd: folder, status: 1 });
    expect(/ERR_ADDON/.test(stderr) && /does not load/.test(stderr), stderr);
    rmSync(join(installed, binary));
  });
  test('no binary', 'that command builds one, which works', () => {
    expect(command, 'there was no command');
    /** @type {NodeJS.ProcessEnv} */
    const env = { PATH: bin + delimiter + process.env.PATH };
    // Use the OpenBLAS of this checkout to save the time of fetching it.
    if (existsSync(join(root, '.openblas/libopenblas.a'))) env.OPENBLAS_ROOT ??= join(root, '.openblas');
    const before = new Set(readdirSync(installed));
    run('sh', ['-c', command], { cwd: folder, env });
    checked(run(node, ['import.mjs'], { cwd: folder, env: { PREBUILDS_ONLY: '' } }));
    const left = readdirSync(installed).filter((name) => !before.has(name));
    expect(left.join() === 'build', `the build leaves ${left}`);
    const files = readdirSync(join(installed, 'build'), { encoding: 'utf8', recursive: true }).sort();
    expect(files.join() === 'Release,Release/lowrank.node', `the build leaves in build/ ${files}`);
  });
}

const begin = performance.now();
try {
  const kits = fetchNodes();
  const tarball = pack();
  /** @type {[Kit, string][]} */
  const installed = kits.map((kit) => [kit, onNode(kit, tarball)]);
  // One Node is enough for the rest: the newest 20.
  for (const [kit, folder] of installed.slice(1, 2)) {
    bundled(kit, folder);
    typed(kit, folder);
    withoutBinary(kit, folder);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
const failed = rows.filter(({ passed }) => !passed).length;
console.log(
  `package: ${rows.length - failed} passed, ${failed} failed, in ${((performance.now() - begin) / 1000).toFixed(0)} s`,
);
if (failed > 0) process.exitCode = 1;
