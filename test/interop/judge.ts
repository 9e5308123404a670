/** Runs `lowrank laser` on checkpoints, and has `reference_edit.py` measure what came out. */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Run, spawnLowrank } from '../support/cli.js';
import { runPython } from './python.js';

/** `layers` as the command line takes them: `4` or `0-2`; `rho` as the user writes it. */
export interface Edit {
  readonly layers: string;
  readonly type: string;
  readonly rho: string;
}

export interface Job {
  readonly name: string;
  /** A key of the table in `reference_edit.py`. */
  readonly family: string;
  /** The checkpoint's folder. */
  readonly input: string;
  readonly edits: readonly Edit[];
  /** Whether `transformers` has a class that loads it. */
  readonly logits: boolean;
}

interface CoveredTensor {
  readonly tensor: string;
  readonly layer: number;
  readonly rank: number;
}

/** The fields of `Verdict` in `reference_edit.py`, explained there. */
export interface Verdict {
  readonly name: string;
  readonly failure?: string;
  readonly edits: readonly CoveredTensor[];
  readonly structure: readonly string[];
  readonly disturbed: readonly string[];
  readonly untouched: readonly string[];
  readonly error: number;
  readonly far: number;
  readonly differing: number;
  readonly gap: number;
  readonly loading: readonly string[] | null;
  readonly logits_error: number | null;
  readonly logits_effect: number | null;
}

export interface Outcome {
  readonly run: Run;
  /** None when the command failed. */
  readonly verdict: Verdict | undefined;
}

/** The arguments of `lowrank` that do the job. */
export function laserArguments(job: Pick<Job, 'input' | 'edits'>, output: string): string[] {
  const at = job.edits.flatMap(({ layers, type, rho }) => ['--at', `${layers}:${type}:${rho}`]);
  return ['laser', job.input, '-o', output, ...at, '--json'];
}

function layerList(layers: string): number[] {
  const [first, last = first] = layers.split('-').map(Number) as [number, number?];
  return Array.from({ length: last! - first + 1 }, (_, i) => first + i);
}

/**
 * Does every job, with the output in `folder`, and measures all that were done in one Python
 * process. Returns the outcomes by the jobs' names.
 */
export async function doAndJudge(folder: string, jobs: readonly Job[]): Promise<Map<string, Outcome>> {
  await mkdir(folder, { recursive: true });
  const outputOf = (job: Job) => join(folder, job.name.replaceAll(/[^\w.-]+/g, '_'));
  const runs = new Map<string, Run>();
  for (const job of jobs) runs.set(job.name, await spawnLowrank(laserArguments(job, outputOf(job))));

  const list = jobs
    .filter((job) => runs.get(job.name)?.code === 0)
    .map((job) => ({
      ...job,
      output: outputOf(job),
      edits: job.edits.map((edit) => ({ ...edit, layers: layerList(edit.layers) })),
    }));
  const [jobsFile, verdictsFile] = [join(folder, 'jobs.json'), join(folder, 'verdicts.json')];
  await writeFile(jobsFile, JSON.stringify(list));
  await runPython('reference_edit.py', jobsFile, verdictsFile);
  const verdicts = JSON.parse(await readFile(verdictsFile, 'utf8')) as Verdict[];
  const byName = new Map(verdicts.map((verdict) => [verdict.name, verdict]));
  return new Map([...runs].map(([name, run]) => [name, { run, verdict: byName.get(name) }]));
}

/** What two lists of edits are compared by: their order is the program's own business. */
function sorted(edits: readonly CoveredTensor[]): string[] {
  return edits.map(({ tensor, layer, rank }) => `${tensor} layer ${layer} rank ${rank}`).sort();
}

/**
 * Holds an outcome against the limits. `bits` is the width of the stored numbers: float32 may
 * differ from the reference by 1e-5 of the largest entry; a 16-bit number only where the last digit
 * of float32 decides the rounding.
 */
export function expectAsReference(outcome: Outcome, bits: 16 | 32): Verdict {
  const { run, verdict } = outcome;
  expect(run, run.stderr).toMatchObject({ code: 0 });
  expect(verdict?.failure).toBeUndefined();
  if (!verdict) throw new Error('the command succeeded, and no verdict came');
  expect(verdict.edits.length).toBeGreaterThan(0);
  expect(sorted((JSON.parse(run.stdout) as { edits: CoveredTensor[] }).edits)).toEqual(sorted(verdict.edits));
  expect(verdict.structure).toEqual([]);
  expect(verdict.disturbed).toEqual([]);
  expect(verdict.untouched).toEqual([]);
  // Two singular values that meet at the cut would make the reference a matter of taste: pick
  // another cut then.
  expect(verdict.gap).toBeGreaterThan(1e-3);
  if (bits === 32) {
    expect(verdict.error).toBeLessThan(1e-5);
  } else {
    expect(verdict.far).toBe(0);
    expect(verdict.differing).toBeLessThan(0.05);
  }
  return verdict;
}

/** Holds the logits of the loaded output against those of the model edited in NumPy. */
export function expectSameLogits(verdict: Verdict, limit: number): void {
  expect(verdict.loading).toEqual([]);
  expect(verdict.logits_error).toBeLessThan(limit);
  // The edit must show in the logits far above the limit, or their agreement would say nothing.
  expect(verdict.logits_effect).toBeGreaterThan(10 * limit);
}
