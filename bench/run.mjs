// npm run bench: measures every contender on every task in one run; README.md explains how.

/** @import { Run, Result, Task } from './types.js' */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { growth, quick, table } from './cases.mjs';
import { Child } from './child.mjs';
import { contenders, defaultThreads, environment, python } from './contenders.mjs';
import { vectorPath } from './format.mjs';
import { machine } from './machine.mjs';
import { BUSY, measure } from './measure.mjs';
import { PARTIAL, render, tableName, WHOLE } from './report.mjs';
import { judged } from './targets.mjs';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const log = (/** @type {string} */ text) => process.stderr.write(`${text}\n`);

const USAGE = `npm run bench -- [options]
  --growth        the growth curves instead of the table
  --only <regex>  tasks whose name matches; results go to bench/.cache/partial
  --quick         small sizes and one round, to check that everything works; results go to bench/.cache/partial
  --rounds <n>    rounds of short tasks (5)
  --threads <n>   threads of every contender (all cores)
  --simd <path>   holds every contender to sse2, avx2 or avx512
  --resume        keeps the tasks that a stopped run with the same options has finished on this machine
  --list          the names of the tasks`;

function readOptions() {
  const { values } = parseArgs({
    options: {
      growth: { type: 'boolean', default: false },
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      threads: { type: 'string' },
      simd: { type: 'string' },
      resume: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const whole = (/** @type {'rounds' | 'threads'} */ name, /** @type {number} */ otherwise) => {
    const number = values[name] === undefined ? otherwise : Number(values[name]);
    if (!Number.isSafeInteger(number) || number < 1)
      throw new Error(`--${name}: expected a whole number of at least 1`);
    return number;
  };
  return { ...values, rounds: whole('rounds', values.quick ? 1 : 5), threads: whole('threads', defaultThreads) };
}

/** @typedef {ReturnType<typeof readOptions>} Options */

/** @param {Options} options */
function chosen(options) {
  const all = options.growth ? growth() : table();
  const tasks = options.quick ? quick(all) : all;
  const pattern = options.only && new RegExp(options.only);
  return pattern ? tasks.filter(({ id }) => pattern.test(id)) : tasks;
}

/** Removes the paths of this machine, because the results are published. @param {string} text */
function withoutPaths(text) {
  return [here('..'), homedir(), tmpdir()].reduce((rest, path) => rest.replaceAll(path, ''), text);
}

/** @param {NodeJS.ProcessEnv} env */
async function startReference(env) {
  const reference = new Child([python(), here('reference/serve.py')], env);
  try {
    return { reference, versions: (await reference.hello()).versions };
  } catch (error) {
    throw new Error(
      `cannot make inputs and check results in Python with NumPy and SciPy: ${python()} ${/** @type {Error} */ (error).message}\n` +
        'Set LOWRANK_PYTHON, or create .venv: see bench/README.md',
    );
  }
}

/**
 * @param {Task[]} tasks
 * @param {Options} options
 * @param {string} folder
 */
async function run(tasks, options, folder) {
  const { threads, rounds } = options;
  const env = environment(threads, options.simd);
  const { reference, versions: checker } = await startReference(env);
  /** @type {Run['versions']} */
  const versions = { 'inputs and checks': checker };
  const context = {
    contenders: await contenders(env),
    reference,
    folder,
    cache: here('.cache/spectra'),
    env,
    threads,
    rounds,
    leastSeconds: options.quick ? 0.01 : 0.2,
    absent: {},
    versions,
    log,
  };
  const unfinished = new Unfinished(options);
  const { results } = unfinished;
  Object.assign(versions, unfinished.versions);
  for (const [i, task] of tasks.entries()) {
    if (i < results.length) continue;
    log(`${i + 1}/${tasks.length} ${task.id}`);
    results.push(await measure(task, context));
    unfinished.save(versions);
  }
  await reference.close();
  unfinished.remove();
  return { results, versions };
}

/** The results of a run that may be stopped, in the order of its tasks. */
class Unfinished {
  #file = here('.cache/unfinished.json');
  #key;
  /** @type {Result[]} */
  results = [];
  /** @type {Run['versions']} */
  versions = {};

  /** @param {Options} options */
  constructor({ resume, ...options }) {
    this.#key = JSON.stringify([options, machine()]);
    if (!resume || !existsSync(this.#file)) return;
    const { key, results, versions } = JSON.parse(readFileSync(this.#file, 'utf8'));
    if (key === this.#key) Object.assign(this, { results, versions });
    else log('--resume: the stopped run had other options, or ran on another machine; starting anew');
  }

  /** @param {Run['versions']} versions */
  save(versions) {
    mkdirSync(here('.cache'), { recursive: true });
    writeFileSync(this.#file, JSON.stringify({ key: this.#key, results: this.results, versions }));
  }

  remove() {
    rmSync(this.#file, { force: true });
  }
}

async function main() {
  const options = readOptions();
  if (options.help) return console.log(USAGE);
  const tasks = chosen(options);
  if (options.list) return console.log(tasks.map(({ id }) => id).join('\n'));
  if (tasks.length === 0) throw new Error('--only matches no task; --list shows them');
  const begin = performance.now();
  const folder = mkdtempSync(join(tmpdir(), 'lowrank-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

  const { results, versions } = await run(tasks, options, folder);
  const busy = Math.max(...results.map((result) => result.busy ?? 0)) > BUSY;
  if (busy) log('other work took too much of the machine: these results are not published');
  const partial = busy || options.quick || options.only !== undefined || options.simd !== undefined;
  const path = vectorPath({ versions });
  /** @type {Run} */
  const document = {
    date: new Date().toISOString(),
    command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
    minutes: Math.round((performance.now() - begin) / 6000) / 10,
    machine: machine(),
    threads: options.threads,
    rounds: options.rounds,
    versions,
    ...(!options.growth && !options.quick && { targets: judged(results, partial, path) }),
    results,
  };
  const places = partial ? PARTIAL : WHOLE;
  if (partial) rmSync(places.data, { recursive: true, force: true });
  mkdirSync(places.data, { recursive: true });
  const name = options.growth ? 'growth.json' : tableName(path);
  writeFileSync(join(places.data, name), withoutPaths(`${JSON.stringify(document, null, 2)}\n`));
  for (const path of render(places)) log(`wrote ${path}`);
}

main().then(
  () => process.exit(),
  (error) => {
    log(error.message);
    process.exit(1);
  },
);
