// One process of test/fuzz/run.mjs: makes inputs of one target from a seed and tries them until it
// is told to end. Each input is written to a file before it is tried, so that it outlives the
// process.

import { mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from './random.js';
import { TARGETS } from './targets.js';

/** Inputs to go on from, at most. */
const POOL = 400;

const [name, seedText, folder, limitText, replayed] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string?,
];
const target = TARGETS.find((candidate) => candidate.name === name)!;
const work = join(folder, 'work');
mkdirSync(work, { recursive: true });
const current = openSync(join(folder, 'current'), 'w');

/** A message to run.mjs. */
export interface Message {
  readonly tried?: number;
  readonly answers?: number;
  readonly fault?: string;
  readonly input?: string;
}
const say = (message: Message) => process.send?.(message);

/** Milliseconds of processor time that one input may take. */
const limit = Number(limitText);

function note(input: Uint8Array): void {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(input.length);
  writeSync(current, Buffer.concat([head, input]), 0, input.length + 8, 0);
}

/** Tries one input; what is wrong with it, if anything is. */
async function fault(input: Uint8Array, answers: Set<string>): Promise<{ fault?: string; isNew: boolean }> {
  note(input);
  const before = process.cpuUsage();
  try {
    const answer = await target.run(input, work);
    const { user } = process.cpuUsage(before);
    const isNew = !answers.has(answer);
    answers.add(answer);
    if (user / 1000 > limit) return { fault: `took ${Math.round(user / 1000)} ms of processor time`, isNew };
    return { isNew };
  } catch (error) {
    return { fault: error instanceof Error ? (error.stack ?? error.message) : String(error), isNew: false };
  }
}

async function main(): Promise<void> {
  const answers = new Set<string>();
  if (replayed !== undefined) {
    const outcome = await fault(readFileSync(replayed), answers);
    say({ tried: 1, answers: answers.size, ...(outcome.fault === undefined ? {} : { fault: outcome.fault }) });
    process.disconnect();
    return;
  }
  const random = new Random(Number(seedText));
  const pool = [...target.seeds()];
  const seeds = pool.length;
  let tried = 0;
  let ended = false;
  process.on('message', () => {
    ended = true;
  });
  let said = performance.now();
  while (!ended) {
    let input = tried < seeds ? pool[tried]! : target.mutate(random, random.pick(pool));
    while (tried >= seeds && random.chance(0.3)) input = target.mutate(random, input);
    const outcome = await fault(input, answers);
    tried++;
    if (outcome.fault !== undefined) say({ fault: outcome.fault, input: Buffer.from(input).toString('base64') });
    if (outcome.isNew && tried > seeds) {
      if (pool.length < seeds + POOL) pool.push(input);
      else pool[seeds + random.below(POOL)] = input;
    }
    if (performance.now() - said > 200) {
      said = performance.now();
      say({ tried, answers: answers.size });
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  say({ tried, answers: answers.size });
  process.disconnect();
}

await main();
process.exit();
