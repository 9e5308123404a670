// One task: every contender in a process of its own, one call at a time, the rounds of all interleaved.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child } from './child.mjs';
import { C_GEMM, CURVES, OUR_GEMM, OURS } from './contenders.mjs';
import { busyShare } from './machine.mjs';

/** A first call that takes longer than this is no warm-up but counts as a round. */
const NO_WARM_UP_SECONDS = 5;

/** At most so many rounds where the first call takes longer than this. */
const FEWER_ROUNDS = [
  { longerThan: 30, rounds: 1 },
  { longerThan: NO_WARM_UP_SECONDS, rounds: 2 },
  { longerThan: 1, rounds: 3 },
];

/** BLAS threads go on spinning for some 30 ms after a call; the next contender waits for them. */
const SETTLE_MS = 60;

/** A machine with more other work than this measures something else: threads that wait for each other multiply it. */
export const BUSY = 0.1;

/** The product whose rate the bound is computed from. */
const RATE_SIZE = 2048;

export const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

/**
 * @param task - of cases.mjs.
 * @param context - { contenders, reference, folder, cache, env, threads, rounds, leastSeconds, absent, versions, log }.
 */
export async function measure(task, context) {
  const { contenders, reference, folder, cache } = context;
  if (task.absent) return { ...described(task), rows: [] };
  const rate = task.bound ? await rateEntry(context) : undefined;
  const input = await makeInput({ ...task, file: task.weights?.file }, 'input.f32', reference, folder, cache);
  const optimum = task.op === 'laser' ? await ask(reference, { do: 'optimum', k: task.k }) : undefined;
  const entries = contenders
    .filter(({ op, name }) => op === task.op && (!task.curve || CURVES.includes(name)))
    .map((contender) => ({ contender, task, input, row: { contender: contender.name } }));
  const all = rate ? [...entries, rate] : entries;
  let busy;
  try {
    await Promise.all(all.map((entry) => start(entry, context)));
    await sleep(SETTLE_MS);
    busy = await busyShare();
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

const ask = (reference, request) => reference.ask(JSON.stringify(request));

async function makeInput(task, name, reference, folder, cache) {
  const path = join(folder, name);
  await ask(reference, { do: 'make', task, path, cache });
  return path;
}

/** OpenBLAS' sgemm at 2048, or ours where there is no C compiler, as one more contender among the rounds. */
async function rateEntry({ contenders, reference, folder, cache }) {
  const named = (name) => contenders.find((one) => one.op === 'gemm' && one.name === name);
  const contender = [C_GEMM, OUR_GEMM].map(named).find(({ absent }) => !absent);
  const n = RATE_SIZE;
  const task = { op: 'gemm', kind: 'gemm', batch: 1, m: n, n, k: n };
  const input = await makeInput(task, 'rate.f32', reference, folder, cache);
  return { contender, task, input, row: { contender: contender.name } };
}

async function start(entry, { env, threads, absent, versions }) {
  const { contender, task, input, row } = entry;
  const why = contender.absent ?? absent[contender.name];
  if (why) return leave(entry, 'absent', why);
  const reason = contender.leftOut?.(task);
  if (reason) return leave(entry, 'left out', reason);
  const { op, batch, m, n, k } = task;
  const numbers = op === 'gemm' ? m * k + k * n : batch * m * n;
  entry.child = new Child(contender.command(JSON.stringify({ op, batch, m, n, k, threads, input, numbers })), env);
  try {
    const hello = await entry.child.hello();
    if (hello.absent) {
      absent[contender.name] = hello.absent;
      return leave(entry, 'absent', hello.absent);
    }
    versions[contender.name] = hello.versions;
    row.status = 'measured';
    row.baseRss = hello.baseRss;
    entry.rounds = [];
  } catch (error) {
    leave(entry, error.message.startsWith('cannot be started') ? 'absent' : 'failed', error.message);
  }
}

/** Takes a contender out of the task. */
function leave(entry, status, reason) {
  Object.assign(entry.row, { status, reason, seconds: undefined });
}

async function play(entries, { rounds, leastSeconds, log }) {
  const running = () => entries.filter(({ row }) => row.status === 'measured');
  const call = async (entry, least) => {
    await sleep(SETTLE_MS);
    try {
      return await entry.child.ask(`run ${least}`);
    } catch (error) {
      leave(entry, 'failed', error.message);
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

/** Compares the last result with the matrix, in float64. */
async function check(entry, { reference, folder }) {
  const { child, row, task } = entry;
  if (row.status !== 'measured') return;
  const path = join(folder, 'result.f32');
  try {
    const { note } = await child.ask(`write ${path}`);
    if (note) row.note = note;
    Object.assign(row, await ask(reference, { do: 'check', path, k: task.k }));
  } catch (error) {
    leave(entry, 'failed', error.message);
  } finally {
    rmSync(path, { force: true });
  }
}

/** Ratios are how many times the seconds of lowrank's default a contender takes. */
function summary(task, entries, optimum, rate) {
  const rows = entries.map(({ row }) => row);
  const ours = rows.find(({ contender }) => contender === (task.op === 'gemm' ? OUR_GEMM : OURS));
  for (const row of rows) if (row.seconds && ours?.seconds) row.ratio = row.seconds / ours.seconds;
  const result = { ...described(task), optimum, rows };
  if (rate?.row.seconds && ours?.seconds) {
    const { batch, m, n, k } = task;
    const flops = (2 * RATE_SIZE ** 3) / rate.row.seconds;
    const seconds = (batch * 6 * m * n * k) / flops;
    result.bound = { seconds, gigaflops: flops / 1e9, measuredBy: rate.contender.name, ratio: ours.seconds / seconds };
  }
  return result;
}

/** A task as it stands in the results. */
function described({ weights, bound, complete, curve, ...task }) {
  return { ...task, weights: weights?.name };
}
