// npm run bench:lora: compares LoRA steps, AdamW and resizing with PyTorch in one run; ../README.md
// explains how.

/** @import { LoraResult, LoraTask, Run } from '../types.js' */

import { mkdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Child } from '../child.mjs';
import { defaultThreads, environment, python } from '../contenders.mjs';
import { busyShare, machine } from '../machine.mjs';
import { median } from '../measure.mjs';
import { PARTIAL, render, WHOLE } from '../report.mjs';
import { RIVALS, TASKS } from './tasks.mjs';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const log = (/** @type {string} */ text) => process.stderr.write(`${text}\n`);

/** BLAS threads spin for a while after a call; the next contender waits for them. */
const SETTLE_MS = 60;
const LEAST_SECONDS = 0.2;

/** A dense decomposition takes seconds, so fewer rounds are enough. @type {(task: LoraTask, rounds: number) => number} */
const roundsOf = ({ op }, rounds) => (op === 'resize' ? Math.min(rounds, 3) : rounds);

/** @param {LoraTask} task */
function contendersOf(task) {
  const json = JSON.stringify(task);
  const rivals = RIVALS[task.op].map((rival) => ({
    ...rival,
    command: [python(), here('torch_lora.py'), rival.variant, json],
  }));
  return [{ name: 'lowrank', command: [process.execPath, here('lowrank.mjs'), json], atLeast: undefined }, ...rivals];
}

/**
 * Runs every contender in its own process, one call at a time, with the rounds of all interleaved.
 *
 * @param {LoraTask} task
 * @param {number} rounds
 * @param {NodeJS.ProcessEnv} env
 * @param {Run['versions']} versions filled here
 * @returns {Promise<LoraResult>}
 */
async function measure(task, rounds, env, versions) {
  const entries = contendersOf(task).map((contender) => ({
    contender,
    child: new Child(contender.command, env),
    /** @type {number[]} */
    seconds: [],
  }));
  try {
    const hellos = await Promise.all(entries.map(({ child }) => child.hello()));
    for (const [i, { contender }] of entries.entries()) versions[contender.name] = hellos[i].versions;
    await sleep(SETTLE_MS);
    const busy = await busyShare();
    for (const { child } of entries) await child.ask('run 0');
    for (let round = 0; round < roundsOf(task, rounds); round++) {
      for (const { child, seconds } of entries) {
        await sleep(SETTLE_MS);
        seconds.push((await child.ask(`run ${LEAST_SECONDS}`)).seconds);
      }
    }
    const ours = median(entries[0]?.seconds ?? []);
    const rows = entries.map(({ contender: { name, atLeast }, seconds }) => {
      const middle = median(seconds);
      return { contender: name, seconds: middle, rounds: seconds, ratio: middle / ours, atLeast };
    });
    return { ...task, busy, rows };
  } finally {
    await Promise.all(entries.map(({ child }) => child.close()));
  }
}

async function main() {
  const { values } = parseArgs({ options: { only: { type: 'string' }, rounds: { type: 'string', default: '5' } } });
  const tasks = TASKS.filter(({ id }) => values.only === undefined || new RegExp(values.only).test(id));
  const begin = performance.now();
  /** @type {Run['versions']} */
  const versions = {};
  /** @type {LoraResult[]} */
  const results = [];
  for (const task of tasks) {
    log(task.id);
    const result = await measure(task, Number(values.rounds), environment(defaultThreads), versions);
    results.push(result);
    for (const { contender, seconds, ratio } of result.rows) {
      log(`  ${contender}: ${(seconds * 1e6).toFixed(1)} us, ${ratio.toFixed(2)}x`);
    }
  }
  /** @type {Run<LoraResult>} */
  const document = {
    date: new Date().toISOString(),
    command: ['npm run bench:lora', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
    minutes: Math.round((performance.now() - begin) / 6000) / 10,
    machine: machine(),
    threads: defaultThreads,
    rounds: Number(values.rounds),
    versions,
    results,
  };
  const places = values.only === undefined ? WHOLE : PARTIAL;
  mkdirSync(places.data, { recursive: true });
  writeFileSync(`${places.data}/lora.json`, `${JSON.stringify(document, null, 2)}\n`);
  for (const path of render(places)) log(`wrote ${path}`);
}

await main();
process.exit();
