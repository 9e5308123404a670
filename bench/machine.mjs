// Describes the machine, and measures whether it is busy with other work.

import { cpus, release, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

export function machine() {
  const all = cpus();
  return {
    cpu: all[0]?.model ?? 'unknown',
    cores: all.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}, ${release()}`,
  };
}

const WATCHED_MS = 300;

/**
 * Measures the share of all cores that is in use, 0 to 1, while this program does nothing for a
 * moment.
 */
export async function busyShare() {
  const before = ticks();
  await sleep(WATCHED_MS);
  const after = ticks();
  return (after.busy - before.busy) / Math.max(after.all - before.all, 1);
}

function ticks() {
  const times = cpus().map((core) => core.times);
  const all = times.flatMap((one) => Object.values(one)).reduce((sum, value) => sum + value, 0);
  return { all, busy: all - times.reduce((sum, { idle }) => sum + idle, 0) };
}
