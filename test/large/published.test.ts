import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import { filesIn, tinyLlama, weights, writeModel } from '../support/checkpoints.js';
import { lowrank, spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';

const at = temporaryPaths();
const preload = new URL('../support/kill-after-publishing.mjs', import.meta.url).href;
const Q = 'model.layers.0.self_attn.q_proj';

let jobs: Record<string, (out: string) => string[]>;

beforeAll(async () => {
  const folder = await writeModel(at('folder'), tinyLlama(), { shards: 2 });
  await writeSafetensors(at('single.safetensors'), tinyLlama());
  await mkdir(at('adapter'));
  await writeFile(at('adapter', 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', r: 2, lora_alpha: 2 }));
  const factors = new Map([
    [`base_model.model.${Q}.lora_A.weight`, weights([2, 16], 'F32', 7)],
    [`base_model.model.${Q}.lora_B.weight`, weights([16, 2], 'F32', 8)],
  ]);
  await writeSafetensors(at('adapter', 'adapter_model.safetensors'), factors);
  const plan = at('plan.json');
  await lowrank(['plan', folder, '-o', at('never'), '--at', '0:mlp:0.5', '-f', plan]);
  await lowrank(['run', plan, '--shard', '1/1']);
  const edits = ['--tensor', `${Q}.weight:0.5`];
  jobs = {
    'laser, a file': (out) => ['laser', at('single.safetensors'), '-o', out, ...edits],
    'laser, a folder': (out) => ['laser', folder, '-o', out, ...edits],
    'lora merge, a file': (out) => ['lora', 'merge', at('single.safetensors'), at('adapter'), '-o', out],
    'lora merge, a folder': (out) => ['lora', 'merge', folder, at('adapter'), '-o', out],
    'merge, a folder': (out) => ['merge', plan, '-o', out],
  };
});

/** The bytes of an output, be it a file or a folder. */
const contents = async (out: string, isFolder: boolean) => (isFolder ? filesIn(out) : readFile(out));

// Injected by a preloaded module, which needs a process that can be killed from inside.
describe.skipIf(process.platform === 'win32')('a job that is killed after its output has appeared', () => {
  it.each(['laser, a file', 'laser, a folder', 'lora merge, a file', 'lora merge, a folder', 'merge, a folder'])(
    '%s: the same command reports success, whatever cleanup was left',
    async (name) => {
      const isFolder = name.includes('folder');
      const path = (round: string) => at('outputs', isFolder ? round : `${round}.safetensors`);
      await mkdir(at('outputs'));
      const undisturbed = path('undisturbed');
      expect((await lowrank(jobs[name]!(undisturbed))).code).toBe(0);
      const expected = await contents(undisturbed, isFolder);
      let killed = 0;
      for (let step = 0; ; step++) {
        const out = path(`out-${step}`);
        const env = { NODE_OPTIONS: `--import ${preload}`, KILL_OUT: out, KILL_BEFORE_STEP: String(step) };
        const run = await spawnLowrank(jobs[name]!(out), { env });
        expect(await contents(out, isFolder)).toEqual(expected);
        const work = join(dirname(out), `.${basename(out)}.lowrank`);
        if (run.signal === null) {
          expect(run).toMatchObject({ code: 0 });
          break;
        }
        killed++;
        const isKnown = existsSync(join(work, 'journal'));
        const again = await lowrank([...jobs[name]!(out), '--json']);
        if (isKnown) expect(again, `${step}: ${again.stderr}`).toMatchObject({ code: 0 });
        // Nothing tells any more that there was a job: it is over.
        else expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('already exists') });
        if (isKnown) expect(JSON.parse(again.stdout)).toMatchObject({ out });
        expect(await contents(out, isFolder)).toEqual(expected);
        expect((await readdir(dirname(out))).filter((entry) => entry.startsWith('.'))).toEqual([]);
      }
      // Removing the copy, the journal, the lock and the folder.
      expect(killed).toBeGreaterThanOrEqual(4);
      await rm(at('outputs'), { recursive: true });
    },
  );

  it('does not take another output for its own', async () => {
    await mkdir(at('outputs'));
    const out = at('outputs', 'changed.safetensors');
    const job = jobs['lora merge, a file']!(out);
    const env = { NODE_OPTIONS: `--import ${preload}`, KILL_OUT: out, KILL_BEFORE_STEP: '0' };
    expect(await spawnLowrank(job, { env })).toMatchObject({ signal: 'SIGKILL' });
    const bytes = await readFile(out);
    bytes[bytes.length - 1]! ^= 1;
    // Not in place: the copy in the unfinished work is the same file.
    await rm(out);
    await writeFile(out, bytes);
    expect(await lowrank(job)).toMatchObject({ code: 1, stderr: expect.stringContaining('already exists') });
    expect(await readFile(out)).toEqual(bytes);
    await rm(out);
    expect(await lowrank(job)).toMatchObject({ code: 0 });
    await rm(at('outputs'), { recursive: true });
  });
});
