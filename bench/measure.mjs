// Measures one task: every contender runs in its own process, one call at a time, with the rounds
// of all contenders interleaved.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from './child.mjs';
import { C_GEMM, CURVES, OUR_GEMM, OWN } from './contenders.mjs';
import { busyShare } from './machine.mjs';

/**
 * @import { Answer, Contender, Result, Row, Task, Versions } from './types.js'
 *
 * @typedef {object} Context
 * @property {Contender[]} contenders
 * @property {Child} reference the process that makes inputs and checks results
 * @property {string} folder for inputs and results
 * @property {string} cache the folder for spectra
 * @property {NodeJS.ProcessEnv} env
 * @property {number} threads
 * @property {number} rounds
 * @property {number} leastSeconds of a round
 * @property {Record<string, string>} absent why contenders cannot run; filled here
 * @property {Record<string, Versions>} versions of the contenders; filled here
 * @property {(text: string) => void} log
 *
 * @typedef {object} Entry one contender on one task
 * @property {Contender} contender
 * @property {Task} task
 * @property {string} input
 * @property {Row} row
 * @property {Child} [child]
 * @property {number[]} rounds
 * @property {number} wanted how many rounds
 *
 * @typedef {Entry & { child: Child }} RunningEntry
 */

/** A first call that takes longer than this is not a warm-up but counts as a round. */
const NO_WARM_UP_SECONDS = 5;

/** The largest number of rounds if the first call takes longer than this. */
const FEWER_ROUNDS = [
  { longerThan: 30, rounds: 1 },
  { longerThan: NO_WARM_UP_SECONDS, rounds: 2 },
  { longerThan: 1, rounds: 3 },
];

/** BLAS threads spin for some 30 ms after a call; the next contender waits for them. */
const SETTLE_MS = 60;

/**
 * With more other work than this the times are wrong: threads that wait for each other multiply it.
 */
export const BUSY = 0.1;

/** The size of the product that gives the rate of the bound. */
const RATE_SIZE = 2048;

/** @param {readonly number[]} values @returns {number} NaN if there are none */
export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
};

/**
 * Measures every contender on a task.
 *
 * @param {Task} task
 * @param {Context} context
 * @returns {Promise<Result>}
 */
export async function measure(task, context) {
  const { contenders, reference, folder, cache } = context;
  if (task.absent) return { ...described(task), rows: [] };
  const rate = task.bound ? await rateEntry(context) : undefined;
  const input = await makeInput({ ...task, file: task.weights?.file }, 'input.f32', reference, folder, cache);
  const optimum = ['laser', 'energy', 'layer'].includes(task.op)
    ? await ask(reference, { do: 'optimum', k: task.k })
    : undefined;
  const entries = contenders
    .filter(({ op, name }) => op === task.op && (!task.curve || CURVES.includes(name)))
    .map((contender) => entryOf(contender, task, input));
  const all = rate ? [...entries, rate] : entries;
  /** @type {number | undefined} */
  let busy;
  try {
    await Promise.all(all.map((entry) => start(entry, context)));
    busy = await otherWork();
    if (busy > BUSY)
      context.log(`  other work takes ${Math.round(100 * busy)} % of this machine: the times will be wrong`);
    await play(all, context);
    for (const entry of entries) await check(entry, context);
  } finally {
    await Promise.all(all.map(({ child }) => child?.close()));
    for (const path of [input, rate?.input]) if (path) rmSync(path, { force: true });
  }
  return { ...summary(task, entries, optimum, rate), busy };
}

/**
 * Returns the share of the machine that other work takes. The contenders themselves may still be
 * starting; the lowest of several looks is without them.
 */
async function otherWork() {
  let least = 1;
  for (let look = 0; look < 5 && least > BUSY / 2; look++) {
    await sleep(SETTLE_MS);
    least = Math.min(least, await busyShare());
  }
  return least;
}

/** @type {(contender: Contender, task: Task, input: string) => Entry} */
const entryOf = (contender, task, input) => ({
  contender,
  task,
  input,
  row: { contender: contender.name },
  rounds: [],
  wanted: 0,
});

/** @type {(reference: Child, request: object) => Promise<any>} */
const ask = (reference, request) => reference.ask(JSON.stringify(request));

/**
 * @param {object} task
 * @param {string} name
 * @param {Child} reference
 * @param {string} folder
 * @param {string} cache
 */
async function makeInput(task, name, reference, folder, cache) {
  const path = join(folder, name);
  await ask(reference, { do: 'make', task, path, cache });
  return path;
}

/**
 * Adds OpenBLAS' sgemm at 2048 as one more contender among the rounds, or ours without a C
 * compiler.
 *
 * @param {Context} context
 */
async function rateEntry({ contenders, reference, folder, cache }) {
  const named = (/** @type {string} */ name) => contenders.find((one) => one.op === 'gemm' && one.name === name);
  const contender = [C_GEMM, OUR_GEMM].map(named).find((one) => one !== undefined && !one.absent);
  if (contender === undefined) throw new Error('no contender multiplies matrices');
  const n = RATE_SIZE;
  /** @type {Task} */
  const task = { id: 'rate', op: 'gemm', kind: 'gemm', batch: 1, m: n, n, k: n };
  const input = await makeInput(task, 'rate.f32', reference, folder, cache);
  return entryOf(contender, task, input);
}

/**
 * Starts a contender, or records why it does not run.
 *
 * @param {Entry} entry
 * @param {Context} context
 */
async function start(entry, { env, threads, absent, versions }) {
  const { contender, task, input, row } = entry;
  const why = contender.absent ?? absent[contender.name];
  if (why) return leave(entry, 'absent', why);
  const reason = contender.leftOut?.(task);
  if (reason) return leave(entry, 'left out', reason);
  const { op, batch, m, n, k, energy, shapes, ranks } = task;
  const numbers =
    shapes?.reduce((sum, [rows, cols]) => sum + rows * cols, 0) ?? (op === 'gemm' ? m * k + k * n : batch * m * n);
  entry.child = new Child(
    contender.command(JSON.stringify({ op, batch, m, n, k, energy, shapes, ranks, threads, input, numbers })),
    env,
  );
  try {
    /** @type {Answer} */
    const hello = await entry.child.hello();
    if (hello.absent) {
      absent[contender.name] = hello.absent;
      return leave(entry, 'absent', hello.absent);
    }
    versions[contender.name] = hello.versions;
    row.status = 'measured';
    row.baseRss = hello.baseRss;
  } catch (error) {
    const { message } = /** @type {Error} */ (error);
    leave(entry, message.startsWith('cannot be started') ? 'absent' : 'failed', message);
  }
}

/**
 * Takes a contender out of the task.
 *
 * @param {Entry} entry
 * @param {Row['status']} status
 * @param {string} reason
 */
function leave(entry, status, reason) {
  Object.assign(entry.row, { status, reason, seconds: undefined });
}

/**
 * Runs the rounds: first every contender once, then all in turn.
 *
 * @param {Entry[]} entries
 * @param {Context} context
 */
async function play(entries, { rounds, leastSeconds, log }) {
  const running = () => entries.filter(isRunning);
  /** @type {(entry: RunningEntry, least: number) => Promise<Answer | undefined>} */
  const call = async (entry, least) => {
    await sleep(SETTLE_MS);
    try {
      return await entry.child.ask(`run ${least}`);
    } catch (error) {
      leave(entry, 'failed', /** @type {Error} */ (error).message);
      await entry.child.close();
      return undefined;
    }
  };
  for (const entry of running()) {
    log(`  ${entry.contender.name}`);
    const first = await call(entry, 0);
    if (!first) continue;
    const { seconds } = first;
    entry.row.peakRss = first.peakRss;
    entry.row.warmUp = seconds <= NO_WARM_UP_SECONDS;
    if (!entry.row.warmUp) entry.rounds.push(seconds);
    const limit = FEWER_ROUNDS.find(({ longerThan }) => seconds > longerThan)?.rounds ?? rounds;
    entry.wanted = Math.min(rounds, limit);
  }
  for (let round = 0; round < rounds; round++) {
    for (const entry of running()) {
      if (entry.rounds.length >= entry.wanted || entry.rounds.length > round) continue;
      const answer = await call(entry, leastSeconds);
      if (answer) entry.rounds.push(answer.seconds);
    }
  }
  for (const { row, rounds: seconds } of running()) Object.assign(row, { seconds: median(seconds), rounds: seconds });
}

/** @param {Entry} entry @returns {entry is RunningEntry} */
const isRunning = (entry) => entry.row.status === 'measured' && entry.child !== undefined;

/**
 * Compares the last result with the matrix, in float64.
 *
 * @param {Entry} entry
 * @param {Context} context
 */
async function check(entry, { reference, folder }) {
  if (!isRunning(entry)) return;
  const { child, row, task } = entry;
  const path = join(folder, 'result.f32');
  try {
    const { note } = await child.ask(`write ${path}`);
    if (note) row.note = note;
    Object.assign(row, await ask(reference, { do: 'check', path, k: task.k }));
  } catch (error) {
    leave(entry, 'failed', /** @type {Error} */ (error).message);
  } finally {
    rmSync(path, { force: true });
  }
}

/**
 * Computes the ratios: how many times the seconds of lowrank's default a contender takes.
 *
 * @param {Task} task
 * @param {Entry[]} entries
 * @param {Result['optimum']} optimum
 * @param {Entry | undefined} rate
 */
function summary(task, entries, optimum, rate) {
  const rows = entries.map(({ row }) => row);
  const ours = rows.find(({ contender }) => contender === OWN[task.op]);
  for (const row of rows) if (row.seconds && ours?.seconds) row.ratio = row.seconds / ours.seconds;
  /** @type {Result} */
  const result = { ...described(task), optimum, rank: optimum?.k, rows };
  if (rate?.row.seconds && ours?.seconds) {
    const { batch, m, n, k } = task;
    const flops = (2 * RATE_SIZE ** 3) / rate.row.seconds;
    const seconds = (batch * 6 * m * n * k) / flops;
    result.bound = { seconds, gigaflops: flops / 1e9, measuredBy: rate.contender.name, ratio: ours.seconds / seconds };
  }
  return result;
}

/**
 * Returns the fields of a task that the results contain.
 *
 * @param {Task} task
 */
function described({ weights, bound, complete, curve, ...task }) {
  return { ...task, weights: weights?.name };
}
