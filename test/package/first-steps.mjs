// Goes through docs/first-steps.md in an empty folder, line by line: saves its programs, runs its
// commands, and checks what they leave. The package is packed here; the packages beside it have the
// versions of test/peers. MiniLM comes from the bench (bench/compress/sources.mjs), since the hub
// cannot be asked here: it lies where transformers.js keeps what it has downloaded.
// Needs a build, the npm registry or its cache, and the Python of bench/compress/requirements.txt.
// Usage: npm run test:first-steps

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { modelFolder } from '../../bench/compress/sources.mjs';
import { pack } from './pack.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs', 'first-steps.md'), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'lowrank-first-steps-'));
const scratch = mkdtempSync(join(tmpdir(), 'lowrank-package-'));
const MINUTES = 20;

/**
 * Runs a program and returns its output; throws if it fails.
 *
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd?: string }} [options]
 */
function run(program, args, { cwd } = {}) {
  // onnxruntime-node would download libraries for graphics cards.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip', NO_COLOR: '1' };
  const done = spawnSync(program, args, { cwd, env, encoding: 'utf8', timeout: MINUTES * 60_000, maxBuffer: 1 << 26 });
  if (done.status === 0) return done;
  throw new Error(`${args.join(' ')}: exit code ${done.status}\n${done.stdout}${done.stderr}`);
}

/** The version of a package in test/peers. @param {string} name */
function peer(name) {
  const { version } = JSON.parse(readFileSync(join(root, 'test/peers/node_modules', name, 'package.json'), 'utf8'));
  return `${name}@${version}`;
}

/** The packages to install in place of those that a line names. @param {string} line @param {string} tarball */
function installed(line, tarball) {
  const names = line.split(' ').slice(2);
  return ['install', '--no-audit', '--no-fund', '--prefer-offline'].concat(
    names.map((name) => (name.endsWith('.tgz') ? tarball : peer(name))),
  );
}

/** What lines leave, by how they begin. @type {[start: string, check: (stdout: string) => void][]} */
const CHECKS = [
  ['npx lowrank doctor', (stdout) => expect(/onnxruntime-node/.test(stdout), stdout)],
  ['npx lowrank inspect', (stdout) => expect(/bert/.test(stdout) && /fc_in/.test(stdout), stdout)],
  [
    'npx lowrank compress',
    () => {
      const { size } = statSync(join(folder, 'models/minilm-small/onnx/model_q4.onnx'));
      expect(size <= 15e6, `the model has ${size} bytes`);
    },
  ],
  ['npx lowrank compare', (stdout) => expect(Number(/cosine\s+([\d.]+)/.exec(stdout)?.[1]) > 0.9, stdout)],
  ['node embed.mjs', (stdout) => expect(stdout.trim() === 'true true', stdout)],
  [
    'npx lowrank search',
    () => {
      const { base, edited } = JSON.parse(readFileSync(join(folder, 'found/summary.json'), 'utf8'));
      expect(base.accuracy < 0.5 && edited.accuracy > 0.9, `accuracies ${base.accuracy} and ${edited.accuracy}`);
      expect(existsSync(join(folder, 'found/report.html')), 'no report');
    },
  ],
  ['npx lowrank lora extract', (stdout) => expect(/\s100\.00 %/.test(stdout), stdout)],
  [
    'npx lowrank lora merge',
    () => {
      const weights = (/** @type {string} */ name) => readFileSync(join(folder, name, 'model.safetensors'));
      expect(weights('merged').length === weights('edited').length, 'the merged model has another size');
    },
  ],
];

/**
 * @param {unknown} condition
 * @param {string} message
 * @returns {asserts condition}
 */
function expect(condition, message) {
  if (!condition) throw new Error(message);
}

/** Puts the model where transformers.js looks before it asks the hub. */
function placeModel() {
  const target = join(folder, 'models/Xenova/all-MiniLM-L6-v2');
  const source = modelFolder('minilm-legacy', join(root, '..', 'shared', 'data'));
  mkdirSync(join(target, 'onnx'), { recursive: true });
  cpSync(join(source, 'model.onnx'), join(target, 'onnx', 'model.onnx'));
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json']) {
    cpSync(join(source, name), join(target, name));
  }
}

/** Runs the page, and returns the seconds of its lines. */
function steps() {
  const tarball = pack(scratch, run);
  placeModel();
  const begin = performance.now();
  const checked = new Set();
  for (const [before, language, text] of blocks()) {
    if (language === 'js') {
      const file = [...before.matchAll(/`(\w+\.mjs)`/g)].at(-1)?.[1];
      expect(file, `no name for the program: ${text}`);
      writeFileSync(join(folder, file), text);
      continue;
    }
    for (const line of text.trim().split('\n')) {
      const start = performance.now();
      const { stdout } =
        line.split(' ')[1] === 'install'
          ? run('npm', installed(line, tarball), { cwd: folder })
          : run('sh', ['-c', line], { cwd: folder });
      for (const [beginning, check] of CHECKS) {
        if (!line.startsWith(beginning)) continue;
        check(stdout);
        checked.add(beginning);
      }
      console.log(`passed ${((performance.now() - start) / 1000).toFixed(1).padStart(7)} s  ${line}`);
    }
  }
  const missing = CHECKS.filter(([beginning]) => !checked.has(beginning)).map(([beginning]) => beginning);
  expect(missing.length === 0, `the page has no ${missing.join(', ')}`);
  return (performance.now() - begin) / 1000;
}

/** The blocks of the page, each with the text since the last. @returns {[before: string, language: string, text: string][]} */
function blocks() {
  return [...page.matchAll(/(.*?)^```(\w+)\n(.*?)^```$/gms)].map(([, before, language, text]) => [
    before ?? '',
    language ?? '',
    text ?? '',
  ]);
}

try {
  const seconds = steps();
  expect(seconds < MINUTES * 60, `the page promises ${MINUTES} minutes`);
  console.log(`first steps: passed, in ${seconds.toFixed(0)} s`);
} finally {
  rmSync(folder, { recursive: true, force: true });
  rmSync(scratch, { recursive: true, force: true });
}
