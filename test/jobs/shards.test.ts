import { copyFile, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { shardOfEnvironment } from '../../lib/cli/commands/shards/shard.js';
import { balance } from '../../lib/shards/balance.js';
import { changedTensors, filesIn, tinyLlama, weights, writeModel } from '../support/checkpoints.js';
import { lowrank, type Run, spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';

const at = temporaryPaths();
const SPECS = ['all:mlp:0.3', '..3:q_proj:k=4', '0..-3:k_proj:energy=0.8'];
const AT = [...SPECS.flatMap((spec) => ['--at', spec]), '--threads', '1', '--seed', '3'];
const SHARDS = 8;

let source: string;
let expected: Map<string, Buffer>;

beforeAll(async () => {
  const tensors = tinyLlama('BF16', 6);
  tensors.set('model.layers.2.mlp.gate_proj.weight', weights([600, 500], 'F32', 99));
  source = await writeModel(at('source'), tensors, { shards: 3 });
  done(await lowrank(['laser', source, '-o', at('single'), ...AT]));
  expected = await filesIn(at('single'));
});

function done(run: Run): Run {
  expect(run.stderr).not.toContain('error');
  expect(run.code).toBe(0);
  return run;
}

/** The seconds that a shard takes are not part of what is compared. */
async function plan(name: string, ...more: string[]): Promise<string> {
  const file = at(`${name}.json`);
  done(await lowrank(['plan', source, '-o', at(name), ...AT, '--shards', String(SHARDS), '-f', file, ...more]));
  return file;
}

describe('plan, run, merge', () => {
  it('equals the result of one process to the last byte, in any order, with one killed and run again', async () => {
    const file = await plan('merged');
    const { tasks } = JSON.parse(await readFile(file, 'utf8'));
    expect(tasks).toHaveLength(6 * 3 + 4 * 2);

    // The large tensor's shard is killed while it computes, or at once if it were faster than its
    // first line.
    const order = [5, 2, 8, 1, 7, 3, 6, 4];
    const killed = 5;
    const runs = await Promise.all(
      order.map((shard) => {
        let sent = false;
        return spawnLowrank(['run', file, '--shard', `${shard}/${SHARDS}`], {
          onStderr: (_, kill) => {
            if (shard !== killed || sent) return;
            sent = true;
            kill('SIGKILL');
          },
        });
      }),
    );
    expect(runs[0]).toMatchObject({ code: null, signal: 'SIGKILL' });
    for (const run of runs.slice(1)) done(run);

    const early = await lowrank(['merge', file]);
    expect(early.code).toBe(1);
    expect(early.stderr).toMatch(/lacks the results of \d+ of 26 tasks/);
    expect(early.stderr).toContain(`of 8 these are ${killed}`);

    done(await lowrank(['run', file, '--shard', `${killed}/${SHARDS}`]));
    const merged = done(await lowrank(['merge', file]));
    expect(merged.stdout).toContain('26 matrices, all results verified');
    expect(await filesIn(at('merged'))).toEqual(expected);
  });

  it('takes the shard from Slurm and Kubernetes, and does nothing twice', async () => {
    const file = await plan('scheduled');
    const slurm = { SLURM_ARRAY_TASK_ID: '10', SLURM_ARRAY_TASK_COUNT: '2', SLURM_ARRAY_TASK_MIN: '10' };
    const first = JSON.parse(done(await lowrank(['run', file, '--json'], { env: slurm })).stdout);
    expect(first).toMatchObject({ shard: 1, shards: 2 });
    expect(first.tasks.every(({ computed }: { computed: boolean }) => computed)).toBe(true);
    const again = JSON.parse(done(await lowrank(['run', file, '--json'], { env: slurm })).stdout);
    expect(again.tasks.some(({ computed }: { computed: boolean }) => computed)).toBe(false);
    // The same results, though dealt out otherwise: only what is missing is computed.
    for (let index = 0; index < SHARDS; index++) {
      const run = JSON.parse(
        done(await lowrank(['run', file, '--json'], { env: { JOB_COMPLETION_INDEX: String(index) } })).stdout,
      );
      expect(run).toMatchObject({ shard: index + 1, shards: SHARDS });
      for (const { sha256, computed } of run.tasks) {
        const before = first.tasks.some((task: { sha256: string }) => task.sha256 === sha256);
        expect(computed).toBe(!before);
      }
    }
    done(await lowrank(['merge', file, '-o', at('elsewhere')]));
    expect(await filesIn(at('elsewhere'))).toEqual(expected);
    expect(await lowrank(['run', file])).toMatchObject({ code: 2, stderr: expect.stringContaining('--shard i/n') });
  });

  it('reports what a stopped merge leaves, and resumes it', async () => {
    const file = await plan('stopped');
    done(await lowrank(['run', file, '--shard', '1/1']));
    let sent = false;
    const merge = await spawnLowrank(['merge', file], {
      onStderr: (soFar, kill) => {
        if (sent || !soFar.includes('3/26')) return;
        sent = true;
        kill('SIGINT');
      },
    });
    expect(merge).toMatchObject({ code: 130, stdout: '' });
    expect(merge.stderr).toMatch(/error: interrupted, \d+ tensors? done/);
    expect(merge.stderr).toContain('run the same command again to resume');
    // What another command gets wrong by itself is not to be gone on with.
    const wrong = await lowrank(['laser', source, '-o', at('stopped'), '--at', '99:fc_in:0.5']);
    expect(wrong).toMatchObject({ code: 1, stderr: expect.not.stringContaining('to resume') });
    done(await lowrank(['merge', file]));
    expect(await filesIn(at('stopped'))).toEqual(expected);
  });

  it('recomputes damaged results, and merges none', async () => {
    const file = await plan('damaged');
    done(await lowrank(['run', file, '--shard', '1/1']));
    const folder = at('damaged.results');
    const names = (await readdir(folder)).sort();
    const bytesOf = async (task: number) => {
      const record = names.find((name) => name.startsWith(`task-${task}.`))!;
      return join(folder, `${JSON.parse(await readFile(join(folder, record), 'utf8')).sha256}.tensor`);
    };
    const content = await readFile(await bytesOf(10));
    content[0]! ^= 1;
    await writeFile(await bytesOf(10), content);
    await writeFile(await bytesOf(11), (await readFile(await bytesOf(11))).subarray(1));
    await rm(await bytesOf(12));
    const record = names.find((name) => name.startsWith('task-3.'))!;
    await writeFile(
      join(folder, record),
      (await readFile(join(folder, record), 'utf8')).replace('"task":3', '"task":4'),
    );
    await rename(join(folder, names.find((name) => name.startsWith('task-7.'))!), join(folder, 'task-8.x.json'));
    const merge = await lowrank(['merge', file]);
    expect(merge).toMatchObject({ code: 1, stderr: expect.stringMatching(/lacks the results of 5 of 26 tasks/) });
    const { tasks } = JSON.parse(done(await lowrank(['run', file, '--shard', '1/1', '--json'])).stdout);
    expect(tasks.filter(({ computed }: { computed: boolean }) => computed)).toHaveLength(5);
    done(await lowrank(['merge', file]));
    expect(await filesIn(at('damaged'))).toEqual(expected);
  });

  it('refuses another checkpoint than the planned one, and files that are not plans', async () => {
    const file = await plan('other');
    const other = await writeModel(at('other-source'), tinyLlama('BF16', 5));
    const run = await lowrank(['run', file, '--shard', '1/1', '--source', other]);
    expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining('does not match the plan') });
    await writeFile(at('broken.json'), '{"lowrank":1}');
    const broken = await lowrank(['merge', at('broken.json')]);
    expect(broken).toMatchObject({ code: 1, stderr: expect.stringContaining('is not a plan') });
    await rm(at('other-source'), { recursive: true });
  });

  it('writes the plan over an older plan, and over nothing else', async () => {
    const file = await plan('again');
    const first = await readFile(file, 'utf8');
    await plan('again');
    expect(await readFile(file, 'utf8')).toBe(first);
    const model = join(source, 'model-00001-of-00003.safetensors');
    const before = await readFile(model);
    const run = await lowrank(['plan', source, '-o', at('never'), ...AT, '-f', model]);
    expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining('already exists') });
    expect((await readFile(model)).equals(before)).toBe(true);
    expect(await readdir(source)).not.toContainEqual(expect.stringContaining('.tmp'));
  });

  it('names the path that opens as the result if the folder has another model too', async () => {
    const folder = await writeModel(at('two-models'), tinyLlama('F32', 1), { shards: 2 });
    const other = await writeModel(at('two-models-other'), tinyLlama('F32', 1));
    await copyFile(join(other, 'model.safetensors'), join(folder, 'model.safetensors'));
    const index = join(folder, 'model.safetensors.index.json');
    const file = at('two-models.json');
    const edit = ['--at', '0:fc_in:0.5'];
    const edited = at('two-models-laser');
    const main = join(edited, 'model.safetensors.index.json');
    const { stdout } = done(await lowrank(['laser', index, '-o', edited, ...edit]));
    expect(stdout).toContain(`the edited one is ${main}`);
    expect(await changedTensors(index, edited)).toEqual([]);
    expect(await changedTensors(index, main)).toEqual(['model.layers.0.mlp.gate_proj.weight']);

    done(await lowrank(['plan', index, '-o', at('two-models-merged'), ...edit, '-f', file]));
    done(await lowrank(['run', file, '--shard', '1/1']));
    const merged = JSON.parse(done(await lowrank(['merge', file, '--json'])).stdout);
    expect(await changedTensors(main, merged.entryPoint)).toEqual([]);
    const plain = JSON.parse(done(await lowrank(['laser', folder, '-o', at('plain'), ...edit, '--json'])).stdout);
    expect(plain).toMatchObject({ out: at('plain'), entryPoint: at('plain') });
  });
});

describe('balance', () => {
  it('deals every task to one shard, and none gets a third more than it must', () => {
    const costs = Array.from({ length: 97 }, (_, i) => ((i * 7919) % 101) + 1);
    const loads = (shards: number[][]) => shards.map((own) => own.reduce((sum, task) => sum + costs[task]!, 0));
    for (const shards of [1, 2, 7, 50, 200]) {
      const dealt = balance(costs, shards);
      expect(dealt).toHaveLength(shards);
      expect(dealt.flat().sort((a, b) => a - b)).toEqual(costs.map((_, task) => task));
      const total = costs.reduce((sum, cost) => sum + cost, 0);
      const least = Math.max(Math.max(...costs), total / shards);
      expect(Math.max(...loads(dealt))).toBeLessThanOrEqual((4 / 3) * least);
      expect(balance(costs, shards)).toEqual(dealt);
    }
  });
});

describe('the shard that a scheduler means', () => {
  it('counts from one', () => {
    const slurm = (id: number, count: number, min?: number, step?: number) =>
      shardOfEnvironment({
        SLURM_ARRAY_TASK_ID: String(id),
        SLURM_ARRAY_TASK_COUNT: String(count),
        SLURM_ARRAY_TASK_MIN: min === undefined ? undefined : String(min),
        SLURM_ARRAY_TASK_STEP: step === undefined ? undefined : String(step),
      });
    expect(slurm(0, 4)).toEqual({ shard: 1, shards: 4 });
    expect(slurm(8, 8, 1)).toEqual({ shard: 8, shards: 8 });
    expect(slurm(7, 3, 1, 3)).toEqual({ shard: 3, shards: 3 });
    expect(() => slurm(9, 3, 1)).toThrow('SLURM_ARRAY_TASK_ID 9');
    expect(() => slurm(2, 3, 1, 3)).toThrow('evenly');
    expect(shardOfEnvironment({ JOB_COMPLETION_INDEX: '0' })).toEqual({ shard: 1 });
    expect(() => shardOfEnvironment({ JOB_COMPLETION_INDEX: 'x' })).toThrow('JOB_COMPLETION_INDEX');
    expect(shardOfEnvironment({})).toBeUndefined();
  });
});
