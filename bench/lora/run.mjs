// npm run bench:lora: LoRA steps, AdamW and resizing against PyTorch, in one run. ../README.md says how.

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

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const log = (text) => process.stderr.write(`${text}\n`);

/** Threads of BLAS go on spinning for a while after a call; the next contender waits for them. */
const SETTLE_MS = 60;
const LEAST_SECONDS = 0.2;

/** A dense decomposition takes seconds: fewer rounds of it say as much. */
const roundsOf = ({ op }, rounds) => (op === 'resize' ? Math.min(rounds, 3) : rounds);

function contendersOf(task) {
  const json = JSON.stringify(task);
  const rivals = RIVALS[task.op].map((rival) => ({
    ...rival,
    command: [python(), here('torch_lora.py'), rival.variant, json],
  }));
  return [{ name: 'lowrank', command: [process.execPath, here('lowrank.mjs'), json] }, ...rivals];
}

/** Every contender in a process of its own, one call at a time, the rounds of all interleaved. */
async function measure(task, rounds, env, versions) {
  const entries = contendersOf(task).map((contender) => ({
    contender,
    child: new Child(contender.command, env),
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
    const ours = median(entries[0].seconds);
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
  const versions = {};
  const results = [];
  for (const task of tasks) {
    log(task.id);
    results.push(await measure(task, Number(values.rounds), environment(defaultThreads), versions));
    for (const { contender, seconds, ratio } of results.at(-1).rows) {
      log(`  ${contender}: ${(seconds * 1e6).toFixed(1)} us, ${ratio.toFixed(2)}x`);
    }
  }
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
