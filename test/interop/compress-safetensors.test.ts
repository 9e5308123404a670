import { existsSync } from 'node:fs';
import { cp, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { expandCheckpoint } from '../../lib/compress/expand.js';
import { models } from '../support/checkpoints.js';
import { temporaryFolder } from '../support/folder.js';
import { python, runPython, unlessNoPython } from './python.js';

/** What `compress_transformers.py` writes, explained there. */
interface Verdict {
  readonly name: string;
  readonly factored: readonly string[];
  readonly dtype: string;
  readonly difference: number;
  readonly again: number;
  readonly missing: readonly string[];
  readonly tokens: boolean | null;
}

interface Case {
  readonly name: string;
  /** Of `make_checkpoints.py`, or a folder of trained models. */
  readonly checkpoint: string;
  readonly storage: 'pivoted' | 'factors';
  readonly keep: number;
  readonly calibrated?: boolean;
  readonly heads?: boolean;
}

const FAMILIES = ['llama', 'mistral', 'qwen2', 'gemma', 'phi', 'phi3', 'neox', 'opt', 'gptj', 'gpt2', 'gpt2base'];
const ENCODERS = ['bert', 'roberta', 'distilbert'];

const cases: readonly Case[] = [
  ...[...FAMILIES, ...ENCODERS].map((family) => ({
    name: `${family}, pivoted`,
    checkpoint: `${family}-f32`,
    storage: 'pivoted' as const,
    keep: 0.7,
  })),
  // Its experts are multiplied out by the loader: transformers has no module for each.
  { name: 'mixtral, pivoted', checkpoint: 'mixtral-f32', storage: 'pivoted', keep: 0.5 },
  ...['llama', 'gpt2', 'bert'].map((family) => ({
    name: `${family}, factors`,
    checkpoint: `${family}-f32`,
    storage: 'factors' as const,
    keep: 0.7,
  })),
  ...['qwen2-bf16', 'gpt2-f16', 'llama-f16-sharded', 'gemma-bf16-sharded', 'gpt2-f32-sharded'].map((checkpoint) => ({
    name: checkpoint,
    checkpoint,
    storage: 'pivoted' as const,
    keep: 0.8,
  })),
  { name: 'qwen2, with moments', checkpoint: 'qwen2-f32', storage: 'pivoted', keep: 0.6, calibrated: true },
  { name: 'gpt2, with moments', checkpoint: 'gpt2-f32', storage: 'pivoted', keep: 0.6, calibrated: true },
  { name: 'neox, head too', checkpoint: 'neox-f32', storage: 'pivoted', keep: 0.7, heads: true },
];

const trained = join(models, 'babyllama-tok105');
const hasTrained = existsSync(trained);
const trainedCases: readonly Case[] = hasTrained
  ? [
      { name: 'BabyLlama', checkpoint: trained, storage: 'pivoted', keep: 0.9, calibrated: true },
      { name: 'BabyLlama, factors', checkpoint: trained, storage: 'factors', keep: 0.8, calibrated: true },
    ]
  : [];
const all = [...cases, ...trainedCases];

describe.skipIf(!python)(`compressed safetensors in transformers${unlessNoPython}`, () => {
  const verdicts = new Map<string, Verdict>();
  let folder: string;
  const path = (...names: string[]) => join(folder, ...names);
  const sourceOf = ({ checkpoint }: Case) => (checkpoint === trained ? trained : path('models', checkpoint));

  const run = async (command: string, jobs: readonly object[]): Promise<unknown> => {
    await writeFile(path('jobs.json'), JSON.stringify(jobs));
    return JSON.parse(await runPython('compress_transformers.py', command, path('jobs.json')));
  };

  beforeAll(async () => {
    folder = temporaryFolder();
    await runPython('make_checkpoints.py', path('models'), ...new Set(cases.map(({ checkpoint }) => checkpoint)));
    const calibrated = all.filter((each) => each.calibrated);
    await run(
      'moments',
      calibrated.map((each) => ({ model: sourceOf(each), out: path(`${each.name}.moments`) })),
    );
    const jobs = [];
    for (const each of all) {
      const { name, storage, keep, calibrated, heads } = each;
      const [compressed, dense] = [path(`${name}.small`), path(`${name}.dense`)];
      const moments = calibrated ? { calibration: path(`${name}.moments`) } : { uncalibrated: true };
      await compressCheckpoint(sourceOf(each), compressed, { keep, storage, heads, ...moments });
      await expandCheckpoint(compressed, dense);
      jobs.push({ name, compressed, dense });
    }
    const [first] = jobs;
    const renamed = { ...first!, name: 'renamed', compressed: path('renamed') };
    await cp(first!.compressed, renamed.compressed, { recursive: true });
    await rename(join(renamed.compressed, 'model.safetensors'), join(renamed.compressed, 'weights.safetensors'));
    const found = (await run('judge', [...jobs, renamed])) as Verdict[];
    for (const verdict of found) verdicts.set(verdict.name, verdict);
  }, 600_000);

  it.each(all)('$name', ({ name, checkpoint }) => {
    const { factored, dtype, difference, again, missing, tokens } = verdicts.get(name)!;
    expect(factored.length).toBeGreaterThan(0);
    const bits = checkpoint.includes('f16') ? 16 : 32;
    expect(dtype.slice('torch.'.length)).toBe(
      checkpoint.includes('bf16') ? 'bfloat16' : bits === 16 ? 'float16' : 'float32',
    );
    // The dense weight is rounded to 16 bits once more than its factors.
    expect(difference).toBeLessThan(bits === 32 ? 1e-4 : 5e-2);
    expect(again).toBeLessThan(bits === 32 ? 1e-5 : 1e-2);
    expect(missing).toEqual([]);
    if (bits === 32) expect(tokens).not.toBe(false);
  });

  it('are found under another name than model.safetensors', () => {
    expect(verdicts.get('renamed')!.difference).toBeLessThan(1e-4);
  });
});
