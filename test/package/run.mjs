// Tests what users get: packs the package, installs it with install scripts blocked into empty
// projects, and uses it there like a program, on every supported Node and npm, and with Bun and Deno.
// Needs a build (npm run build) and the npm registry or its cache. On other systems than Linux x64 it
// uses the Node that runs it.
// Usage: npm run test:package

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
import { hostTarget } from '../../scripts/build/targets.mjs';
import { checked, expect, run, summarize, test } from '../support/checklist.mjs';
import { binary, npmCli, pack } from './pack.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '..', '..');
const require = createRequire(import.meta.url);
const scratch = mkdtempSync(join(tmpdir(), 'lowrank-package-'));
const nodes = join(root, '.build', 'nodes');
const modules = join(nodes, 'node_modules');

/** The oldest Node of package.json, and each release line since, with its usual npm. */
const NODES = [
  { name: '20.17', npm: '10' },
  { name: '20', npm: '10' },
  { name: '22', npm: '11' },
  { name: '24', npm: '11' },
  { name: '26', npm: '12' },
];

/** @typedef {{ name: string, bin: string, node: string, npm: string, npx: string }} Kit a Node with its npm, by their paths */

/** npm's own file, which runs without a shell on every system. */

/**
 * Installs the Nodes and npms to test with, from test/package/nodes/, in .build/nodes/. They are
 * for Linux x64; elsewhere there is only the Node that runs this.
 *
 * @returns {Kit[]}
 */
function fetchNodes() {
  if (hostTarget() !== 'linux-x64-glibc') {
    const name = process.versions.node.split('.')[0] ?? '';
    const npx = join(dirname(npmCli), 'npx-cli.js');
    return [{ name, bin: dirname(process.execPath), node: process.execPath, npm: npmCli, npx }];
  }
  installLocked(join(here, 'nodes'), nodes);
  return NODES.map(({ name, npm }) => {
    const bin = join(modules, `node${name}`, 'bin');
    const node = join(bin, 'node');
    const script = (/** @type {string} */ file) => join(modules, `npm${npm}`, 'bin', file);
    return { name, bin, node, npm: script('npm-cli.js'), npx: script('npx-cli.js') };
  });
}

/**
 * Bun and Deno, and how each runs a file.
 *
 * @type {{ name: string, program: string, args: string[] }[]}
 */
const RUNTIMES = [
  { name: 'Bun', program: join(modules, 'bun/bin/bun'), args: [] },
  { name: 'Deno', program: join(modules, 'deno/deno'), args: ['run', '-A'] },
];

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
  test(where, 'AbortSignal', () => checked(run(kit.node, ['abort.mjs'], { cwd: folder })));
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

/**
 * Uses the installed package, and a model that Node has written, with another runtime.
 *
 * @param {(typeof RUNTIMES)[number]} runtime
 * @param {string} folder
 */
function onRuntime({ name, program, args }, folder) {
  const where = `${name} ${run(program, ['--version']).stdout.match(/\d+\.\d+\.\d+/)?.[0]}`;
  const start = (/** @type {string[]} */ ...rest) => run(program, [...args, ...rest], { cwd: folder });
  test(where, 'import', () => checked(start('import.mjs')));
  test(where, 'require', () => checked(start('require.cjs')));
  test(where, 'in two workers and the main thread', () => checked(start('worker.mjs')));
  test(where, 'AbortSignal', () => checked(start('abort.mjs')));
  const main = join(folder, 'node_modules/lowrank/dist/cli/main.js');
  test(where, 'lowrank doctor', () => {
    const { host, selfTest } = JSON.parse(start(main, 'doctor', '--json').stdout);
    expect(host.startsWith(name) && selfTest.passed, `host ${host}, self-test ${JSON.stringify(selfTest)}`);
    return host;
  });
  test(where, 'lowrank laser, with the bytes that Node wrote', () => {
    start(main, 'laser', 'model', '-o', `out-${name}`, '--at', '1:fc_in:0.01', '--json');
    const weights = (/** @type {string} */ out) => readFileSync(join(folder, out, 'model.safetensors'));
    expect(weights('out').equals(weights(`out-${name}`)), 'the weights differ');
  });
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
  if (process.platform !== 'linux') {
    console.log('not tried here: a build from source, for which there is OpenBLAS on Linux alone');
    return;
  }
  test('no binary', 'that command builds one, which works', () => {
    expect(command, 'there was no command');
    /** @type {NodeJS.ProcessEnv} */
    const env = { PATH: bin + delimiter + process.env.PATH };
    // Use the OpenBLAS of this checkout to save the time of fetching it.
    if (existsSync(join(root, '.openblas/libopenblas.a'))) env.OPENBLAS_ROOT ??= join(root, '.openblas');
    const before = new Set(readdirSync(installed));
    run(command, [], { cwd: folder, env, shell: true });
    checked(run(node, ['import.mjs'], { cwd: folder, env: { PREBUILDS_ONLY: '' } }));
    const left = readdirSync(installed).filter((name) => !before.has(name));
    expect(left.join() === 'build', `the build leaves ${left}`);
    const files = readdirSync(join(installed, 'build'), { encoding: 'utf8', recursive: true }).sort();
    expect(files.join() === 'Release,Release/lowrank.node', `the build leaves in build/ ${files}`);
  });
}

try {
  const kits = fetchNodes();
  const tarball = pack(scratch, run);
  /** @type {[Kit, string][]} */
  const installed = kits.map((kit) => [kit, onNode(kit, tarball)]);
  // One Node is enough for the rest: the newest 20, or the only one.
  for (const [kit, folder] of installed.slice(installed.length > 1 ? 1 : 0).slice(0, 1)) {
    for (const runtime of RUNTIMES.filter(({ program }) => existsSync(program))) onRuntime(runtime, folder);
    bundled(kit, folder);
    typed(kit, folder);
    withoutBinary(kit, folder);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
summarize('package');
