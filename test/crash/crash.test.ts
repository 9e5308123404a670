import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { NewTensor } from '../../lib/checkpoint/safetensors/file.js';
import { tinyLlama, weights, writeModel } from '../support/checkpoints.js';
import { main, spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';
import { random } from '../support/random.js';

/** How often a job is killed. */
const KILLS = Number(process.env.LOWRANK_CRASH_KILLS ?? 12);
/** The moments are drawn from this; printed, so that a run can be had again. */
const SEED = Number(process.env.LOWRANK_CRASH_SEED ?? 1);

const at = temporaryPaths();
const fakeStatfs = new URL('../support/fake-statfs.mjs', import.meta.url).href;
const EDITS = ['--tensor', 'model.layers.*.mlp.*:0.2', '--tensor', 'model.layers.*.self_attn.q_proj.weight:0.5'];
const job = (source: string, out: string) => ['laser', source, '-o', out, ...EDITS, '--threads', '1', '--json'];

/** About 30 MB in three files: a job of one or two seconds. */
async function source(): Promise<string> {
  const tensors: Map<string, NewTensor> = tinyLlama('BF16', 6);
  for (let layer = 0; layer < 6; layer++) {
    const prefix = `model.layers.${layer}.mlp.`;
    tensors.set(`${prefix}gate_proj.weight`, weights([640, 448], 'F32', 100 + layer));
    tensors.set(`${prefix}up_proj.weight`, weights([640, 448], 'BF16', 200 + layer));
    tensors.set(`${prefix}down_proj.weight`, weights([448, 640], 'F16', 300 + layer));
  }
  tensors.set('model.embed_tokens.weight', weights([8192, 448], 'F32', 400));
  return writeModel(at('source'), tensors, { shards: 3 });
}

/** The digest of all files below a folder, with their names. */
async function digest(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const file of files.sort()) hash.update(`${file.slice(folder.length)}\0`).update(await readFile(file));
  return hash.digest('hex');
}

/** Runs a job and kills it after so many milliseconds. */
function killedAfter(args: readonly string[], milliseconds: number): Promise<boolean> {
  const child = spawn(process.execPath, [main, ...args], { stdio: 'ignore' });
  const timer = setTimeout(() => child.kill('SIGKILL'), milliseconds);
  return new Promise((resolve, reject) => {
    child.on('error', reject).on('exit', (_, signal) => {
      clearTimeout(timer);
      resolve(signal === 'SIGKILL');
    });
  });
}

/** Whether small file systems of memory can be mounted here. */
function mountable(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const folder = `/tmp/lowrank-mount-${process.pid}`;
  try {
    execFileSync('mkdir', [folder]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'pipe' });
    execFileSync('umount', [folder]);
    return true;
  } catch {
    return false;
  } finally {
    execFileSync('rm', ['-rf', '--one-file-system', folder]);
  }
}

let model: string;
let before: string;
let expected: string;
let milliseconds: number;

beforeAll(async () => {
  model = await source();
  before = await digest(model);
  await spawnLowrank(job(model, at('warm-up')));
  const begin = performance.now();
  const run = await spawnLowrank(job(model, at('undisturbed')));
  milliseconds = performance.now() - begin;
  expect(run.code).toBe(0);
  expected = await digest(at('undisturbed'));
  expect(expected).not.toBe(before);
});

describe('a job that is killed', () => {
  it(`resumes after each of ${KILLS} SIGKILLs, and ends with the same bytes`, async () => {
    const next = random(SEED);
    const tally = { kills: 0, before: 0, resumed: 0, tensors: 0, ended: 0 };
    for (let round = 0; tally.kills < KILLS; round++) {
      const out = at(`out-${round}`);
      // Some jobs are killed more than once before they may end.
      const times = 1 + Math.floor(2 * next() ** 2);
      for (let time = 0; time < times; time++) {
        const moment = next() * milliseconds;
        const killed = await killedAfter(job(model, out), moment);
        if (killed) tally.kills++;
        // Only a whole output may be seen.
        if (existsSync(out)) expect([round, moment, await digest(out)]).toEqual([round, moment, expected]);
      }
      const left = existsSync(out);
      const run = await spawnLowrank(job(model, out));
      if (left && run.code !== 0) {
        // The last thing that goes is the journal: then the job is over, and its output there.
        expect([round, run.code, run.stderr]).toEqual([round, 1, expect.stringContaining('already exists')]);
        tally.ended++;
      } else {
        expect([round, run.code, run.stderr]).toEqual([round, 0, expect.any(String)]);
        const { resumed, edits } = JSON.parse(run.stdout);
        expect(edits).toHaveLength(24);
        if (resumed === undefined) tally.before++;
        else {
          tally.resumed++;
          tally.tensors += resumed.tensors;
        }
      }
      expect([round, await digest(out)]).toEqual([round, expected]);
      await rm(out, { recursive: true });
      expect((await readdir(at())).filter((name) => name.startsWith('.'))).toEqual([]);
    }
    expect(await digest(model)).toBe(before);
    process.stdout.write(`crash test: seed ${SEED}, ${Math.round(milliseconds)} ms, ${JSON.stringify(tally)}\n`);
    expect(tally.kills).toBeGreaterThanOrEqual(KILLS);
    // Moments over the whole length of the job reach also those at which something is done already.
    if (KILLS >= 12) expect(tally.resumed).toBeGreaterThan(0);
  });

  it('ends with the same bytes when two processes resume it at once', async () => {
    const out = at('two');
    await killedAfter(job(model, out), milliseconds / 2);
    const runs = await Promise.all([spawnLowrank(job(model, out)), spawnLowrank(job(model, out))]);
    const codes = runs.map(({ code }) => code).sort();
    expect(codes[1]).toBe(1);
    expect(runs.map(({ stderr }) => stderr).join('')).toMatch(/is being written by process|already exists/);
    if (codes[0] !== 0) expect((await spawnLowrank(job(model, out))).code).toBe(0);
    expect(await digest(out)).toBe(expected);
    await rm(out, { recursive: true });
  });
});

const canMount = mountable();
describe.skipIf(!canMount)('a full disk (skipped where a tmpfs cannot be mounted)', () => {
  it('keeps finished work, and resumes when there is room', async () => {
    const disk = at('disk');
    await mkdir(disk);
    const size = (megabytes: number) => execFileSync('mount', ['-o', `remount,size=${megabytes}m`, disk]);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', disk]);
    try {
      const out = join(disk, 'out');
      // The copy fits at the last; each time before, it does not.
      for (const megabytes of [1, 8, 20]) {
        size(megabytes);
        // First as it is, which is refused before the work; then as if nobody knew how much is
        // free.
        const blind: Record<string, string> = { NODE_OPTIONS: `--import ${fakeStatfs}`, FREE_BYTES: 'unknown' };
        for (const env of [undefined, blind]) {
          const run = await spawnLowrank(job(model, out), { env });
          expect(run.code).toBe(1);
          expect(run.stderr).toContain('no space left on the disk');
          expect(run.stderr.includes('bytes needed')).toBe(env === undefined);
          expect(JSON.parse(run.stdout).error).toMatchObject({ code: 'ERR_CHECKPOINT_IO' });
          expect(existsSync(out)).toBe(false);
        }
      }
      size(64);
      const run = await spawnLowrank(job(model, out));
      expect(run.code).toBe(0);
      expect(await digest(out)).toBe(expected);
      expect(await readdir(disk)).toEqual(['out']);
      expect(await digest(model)).toBe(before);
    } finally {
      execFileSync('umount', [disk]);
    }
  });
});
