// The machine, and whether it is busy with anything else.

import { cpus, release, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

export function machine() {
  const all = cpus();
  return {
    cpu: all[0].model,
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}, ${release()}`,
  };
}

const WATCHED_MS = 300;

/** The share of all cores that is in use, 0 to 1, over a moment in which this program does nothing. */
export async function busyShare() {
  const before = ticks();
  await sleep(WATCHED_MS);
  const after = ticks();
  return (after.busy - before.busy) / Math.max(after.all - before.all, 1);
}

function ticks() {
  const times = cpus().map((core) => core.times);
  const all = times.flatMap(Object.values).reduce((sum, value) => sum + value, 0);
  return { all, busy: all - times.reduce((sum, { idle }) => sum + idle, 0) };
}
