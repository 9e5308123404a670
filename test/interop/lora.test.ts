import { existsSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loraDelta } from '../../lib/adapters/adapter.js';
import { mergeLoras } from '../../lib/adapters/combine.js';
import { readAdapter, writeAdapter } from '../../lib/adapters/files.js';
import { open } from '../../lib/checkpoint/open.js';
import { toFloat32 } from '../../lib/tensor/convert.js';
import { spawnLowrank } from '../support/cli.js';
import { temporaryFolder } from '../support/folder.js';
import { distance, norm } from '../support/matrices.js';
import { python, root, runPython, unlessNoPython } from './python.js';

const trained = join(root, '..', 'shared', 'data', 'models', 'lora-gpt2-tigrinya');

type Job =
  | { readonly kind: 'deltas'; readonly base: string; readonly adapter: string; readonly out: string }
  | { readonly kind: 'merged'; readonly base: string; readonly adapters: readonly string[]; readonly ours: string };

/** What `lora_peft.py` says. */
interface Answer {
  readonly complaints: readonly string[];
  readonly largest: number;
  readonly compared: number;
  readonly changed: number;
}

let folder: string;
const at = (...names: string[]) => join(folder, ...names);

async function run(...args: string[]): Promise<void> {
  const { code, stderr } = await spawnLowrank(['lora', ...args]);
  expect(code, stderr).toBe(0);
}

let asked = 0;
async function askPeft(jobs: readonly Job[]): Promise<Answer[]> {
  const [question, answer] = [at(`jobs-${++asked}.json`), at(`answers-${asked}.json`)];
  await writeFile(question, JSON.stringify(jobs));
  await runPython('lora_peft.py', question, answer);
  return JSON.parse(await readFile(answer, 'utf8')) as Answer[];
}

const deltasOf = (base: string, adapter: string, name: string): Job => ({
  kind: 'deltas',
  base,
  adapter,
  out: at(`${name}.safetensors`),
});

/** PEFT's updates by module, as it stores the weights. */
async function readDeltas(name: string): Promise<Map<string, Float32Array>> {
  const checkpoint = await open(at(`${name}.safetensors`));
  try {
    const deltas = new Map<string, Float32Array>();
    for (const tensor of checkpoint.tensors.keys()) deltas.set(tensor, toFloat32(await checkpoint.read(tensor), 'F32'));
    return deltas;
  } finally {
    await checkpoint.close();
  }
}

/**
 * Holds our updates of an adapter against PEFT's: the same modules, the same numbers to the
 * rounding of float32.
 */
async function expectSameDeltas(adapter: string, name: string): Promise<void> {
  const [ours, theirs] = [await readAdapter(adapter), await readDeltas(name)];
  expect(new Set(theirs.keys())).toEqual(new Set(ours.modules.keys()));
  for (const [module, delta] of theirs) {
    expect(norm(delta), module).toBeGreaterThan(0);
    expect(distance(loraDelta(ours, module).data, delta) / norm(delta), module).toBeLessThan(1e-6);
  }
}

describe.skipIf(!python)(`adapters and PEFT${unlessNoPython}`, () => {
  const PAIRS = [
    ['gpt2', 'one'],
    ['gpt2', 'two'],
    ['llama', 'one'],
    ['llama', 'two'],
  ] as const;
  const base = (family: string, dtype = 'f32') => at(`${family}-${dtype}`);
  const adapter = (family: string, name: string) => at('adapters', `${family}-${name}`);

  beforeAll(async () => {
    folder = temporaryFolder();
    await mkdir(at('adapters'));
    await runPython('make_checkpoints.py', folder, 'gpt2-f32', 'llama-f32', 'gpt2-bf16', 'llama-bf16');
    await runPython('lora_make.py', folder, at('adapters'));
  });

  it('have the same updates: as PEFT wrote them, resized, and summed', async () => {
    const jobs: Job[] = [];
    const names: [adapter: string, name: string][] = [];
    const add = (family: string, path: string, name: string) => {
      jobs.push(deltasOf(base(family), path, name));
      names.push([path, name]);
    };
    for (const [family, name] of PAIRS) {
      const path = adapter(family, name);
      add(family, path, `${family}-${name}`);
      for (const flags of [
        ['--rank', '2'],
        ['--energy', '0.8'],
      ]) {
        const out = at(`${family}-${name}${flags.join('')}`);
        await run('resize', path, '-o', out, ...flags);
        add(family, out, `${family}-${name}${flags.join('')}`);
      }
    }
    for (const family of ['gpt2', 'llama']) {
      const parts = await Promise.all(['one', 'two'].map((name) => readAdapter(adapter(family, name))));
      const weights = [0.75, -0.5];
      const sum = await mergeLoras(parts.map((part, i) => ({ adapter: part, weight: weights[i]! })));
      await writeAdapter(sum.adapter, at(`${family}-sum`));
      add(family, at(`${family}-sum`), `${family}-sum`);
    }
    const answers = await askPeft(jobs);
    expect(answers.flatMap(({ complaints }) => complaints)).toEqual([]);
    for (const [path, name] of names) await expectSameDeltas(path, name);

    for (const family of ['gpt2', 'llama']) {
      const [one, two, sum] = await Promise.all(['one', 'two', 'sum'].map((name) => readDeltas(`${family}-${name}`)));
      for (const [module, delta] of sum!) {
        const expected = delta.map((_, i) => 0.75 * (one!.get(module)?.[i] ?? 0) - 0.5 * (two!.get(module)?.[i] ?? 0));
        expect(distance(delta, expected) / norm(expected), module).toBeLessThan(1e-6);
      }
    }
  });

  it('merge into a checkpoint as merge_and_unload does, one and several', async () => {
    const jobs: Job[] = [];
    const limits: number[] = [];
    for (const family of ['gpt2', 'llama']) {
      for (const dtype of ['f32', 'bf16']) {
        for (const names of [['one'], ['one', 'two']]) {
          const adapters = names.map((name) => adapter(family, name));
          const ours = at(`merged-${family}-${dtype}-${names.join('-')}`);
          await run('merge', base(family, dtype), ...adapters, '-o', ours);
          jobs.push({ kind: 'merged', base: base(family, dtype), adapters, ours });
          // PEFT rounds to BF16 the update and the sum after each adapter, this package the sum
          // once: the last digit differs.
          limits.push(dtype === 'f32' ? 1e-6 : names.length * 2 ** -7);
        }
      }
    }
    for (const [i, answer] of (await askPeft(jobs)).entries()) {
      expect(answer.complaints).toEqual([]);
      expect(answer.compared).toBeGreaterThan(20);
      expect(answer.changed).toBeGreaterThan(5);
      expect(answer.largest, jobs[i]!.base).toBeLessThan(limits[i]!);
    }
  });

  it('are found again between a checkpoint and the merged one, and loaded by PEFT', async () => {
    const jobs: Job[] = [];
    for (const family of ['gpt2', 'llama']) {
      const [tuned, found] = [at(`tuned-${family}`), at(`found-${family}`)];
      await run('merge', base(family), adapter(family, 'two'), '-o', tuned);
      await run('extract', base(family), tuned, '-o', found, '--rank', family === 'gpt2' ? '3' : '2');
      jobs.push(
        deltasOf(base(family), found, `found-${family}`),
        deltasOf(base(family), adapter(family, 'two'), `two-${family}`),
      );
    }
    expect((await askPeft(jobs)).flatMap(({ complaints }) => complaints)).toEqual([]);
    for (const family of ['gpt2', 'llama']) {
      await expectSameDeltas(at(`found-${family}`), `found-${family}`);
      const [found, wanted] = [await readDeltas(`found-${family}`), await readDeltas(`two-${family}`)];
      expect(new Set(found.keys())).toEqual(new Set(wanted.keys()));
      for (const [module, delta] of wanted) {
        expect(distance(found.get(module)!, delta) / norm(delta), module).toBeLessThan(1e-4);
      }
    }
  });

  it('come back from GGUF as PEFT wrote them', async () => {
    const jobs: Job[] = [];
    for (const family of ['gpt2', 'llama']) {
      await run('convert', adapter(family, 'one'), '-o', at(`${family}.gguf`), '--base', base(family));
      await run('convert', at(`${family}.gguf`), '-o', at(`back-${family}`), '--base', base(family));
      jobs.push(
        deltasOf(base(family), at(`back-${family}`), `back-${family}`),
        deltasOf(base(family), adapter(family, 'one'), `first-${family}`),
      );
    }
    expect((await askPeft(jobs)).flatMap(({ complaints }) => complaints)).toEqual([]);
    for (const family of ['gpt2', 'llama']) {
      const [back, first] = [await readDeltas(`back-${family}`), await readDeltas(`first-${family}`)];
      expect(new Set(back.keys())).toEqual(new Set(first.keys()));
      for (const [module, delta] of first) {
        expect(distance(back.get(module)!, delta) / norm(delta), module).toBeLessThan(1e-6);
      }
    }
  });

  it('that correct a rounded checkpoint are loaded by PEFT over it', async () => {
    const jobs: Job[] = [];
    for (const family of ['gpt2', 'llama']) {
      await run('correct', base(family), base(family, 'bf16'), '-o', at(`fix-${family}`), '--rank', '4');
      jobs.push(deltasOf(base(family, 'bf16'), at(`fix-${family}`), `fix-${family}`));
    }
    expect((await askPeft(jobs)).flatMap(({ complaints }) => complaints)).toEqual([]);
    for (const family of ['gpt2', 'llama']) await expectSameDeltas(at(`fix-${family}`), `fix-${family}`);
  });

  it.skipIf(!existsSync(trained))('of a real adapter, resized, are loaded by PEFT (needs ../shared/data)', async () => {
    await run('resize', trained, '-o', at('rank'), '--rank', '4');
    await run('resize', trained, '-o', at('energy'), '--energy', '0.9');
    const paths = { trained, rank: at('rank'), energy: at('energy') };
    const answers = await askPeft(Object.entries(paths).map(([name, path]) => deltasOf('gpt2', path, `real-${name}`)));
    expect(answers.flatMap(({ complaints }) => complaints)).toEqual([]);
    for (const [name, path] of Object.entries(paths)) await expectSameDeltas(path, `real-${name}`);
  });
});
