import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Lora, type LoraScaling } from '../../lib/lora/lora.js';
import { AdamW, clipGradNorm, Sgd } from '../../lib/lora/optimizer.js';
import { temporaryFolder } from '../support/folder.js';
import { gaussian } from '../support/matrices.js';
import { python, runPython, unlessNoPython } from './python.js';

interface Case {
  readonly leading: readonly number[];
  readonly dim: number;
  readonly dimOut: number;
  readonly r: number;
  readonly alpha: number;
  readonly scaling: LoraScaling;
}

interface Answer extends Readonly<Record<string, number | readonly number[]>> {
  readonly norm: number;
}

const CASES: readonly Case[] = [
  { leading: [5], dim: 7, dimOut: 6, r: 3, alpha: 1, scaling: 'standard' },
  { leading: [2, 3], dim: 64, dimOut: 48, r: 8, alpha: 16, scaling: 'rslora' },
  { leading: [], dim: 33, dimOut: 20, r: 4, alpha: 2, scaling: 'standard' },
  { leading: [128], dim: 512, dimOut: 768, r: 64, alpha: 8, scaling: 'standard' },
  { leading: [1], dim: 1024, dimOut: 256, r: 1, alpha: 1, scaling: 'standard' },
];

/** One step of everything that PyTorch is asked for: what it is given, and what came out here. */
function trained({ leading, dim, dimOut, r, alpha, scaling }: Case) {
  const lora = new Lora({ dim, dimOut, r, alpha, scaling, seed: 3 });
  const x = gaussian([...leading, dim], 2);
  const g = gaussian([...leading, dimOut], 3);
  const given = { A: [...lora.A.data], B: [...lora.B.data], x: [...x.data], g: [...g.data] };
  const y = lora.forward(x);
  const gradX = lora.backward(g);
  const gradients = { gradA: lora.A.grad!.data.slice(), gradB: lora.B.grad!.data.slice() };
  const norm = clipGradNorm(lora.parameters(), 1);
  const adamw = new AdamW(lora.parameters(), { lr: 0.01, weightDecay: 0.1 });
  const sgd = new Sgd(lora.parameters(), { lr: 0.01, momentum: 0.9, weightDecay: 0.1 });
  for (const optimizer of [adamw, adamw, sgd, sgd]) optimizer.step();
  const ours = { y: y.data, gradX: gradX.data, ...gradients, A: lora.A.data, B: lora.B.data };
  return { question: { leading, dim, dimOut, r, scale: lora.scale, ...given }, ours, norm };
}

function relativeDistance(ours: Float32Array, theirs: readonly number[]): number {
  expect(ours.length).toBe(theirs.length);
  const difference = Math.hypot(...theirs.map((value, i) => value - ours[i]!));
  return difference / Math.hypot(...theirs);
}

describe.skipIf(!python)(`Lora against autograd and the optimizers of PyTorch${unlessNoPython}`, () => {
  const folder = temporaryFolder();

  it('gradients agree to 1e-5, and the parameters after two steps of AdamW and of SGD', async () => {
    const runs = CASES.map(trained);
    const path = join(folder, 'cases.json');
    await writeFile(path, JSON.stringify(runs.map(({ question }) => question)));
    const answers = JSON.parse(await runPython('lora_autograd.py', path)) as Answer[];
    expect(answers.length).toBe(CASES.length);
    for (const [i, { ours, norm }] of runs.entries()) {
      const theirs = answers[i]!;
      expect(Math.abs(norm / theirs.norm - 1)).toBeLessThan(1e-5);
      for (const [name, data] of Object.entries(ours)) {
        expect(relativeDistance(data, theirs[name] as readonly number[]), `${name} of case ${i}`).toBeLessThan(1e-5);
      }
    }
  });
});
