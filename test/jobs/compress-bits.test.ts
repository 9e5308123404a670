import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { writeMoments } from '../../lib/compress/moments.js';
import type { CompressReport } from '../../lib/compress/report.js';
import type { Moments } from '../../lib/lowrank/moments.js';
import { lowrank } from '../support/cli.js';
import { failure } from '../support/failure.js';
import { temporaryFolder } from '../support/folder.js';
import { gaussian } from '../support/matrices.js';
import { mlp } from '../support/onnx-mlp.js';
import { fill } from '../support/safetensors.js';

/** Moments of inputs with a few strong directions. */
function moments(n: number, seed: number): Moments {
  const x = gaussian([n, n], seed).data;
  const second = new Float64Array(n * n);
  for (let k = 0; k < n; k++) {
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) second[i * n + j]! += 0.8 ** k * x[k * n + i]! * x[k * n + j]!;
  }
  return { kind: 'inputs', second, count: 1000 };
}

async function model() {
  const folder = temporaryFolder();
  await fill(folder, { 'model.onnx': mlp() });
  const path = (name: string) => join(folder, name);
  const all = new Map([
    ['onnx::MatMul_1', moments(32, 1)],
    ['onnx::MatMul_2', moments(48, 2)],
    ['m.5.weight', moments(48, 3)],
  ]);
  await writeMoments(path('moments.safetensors'), all);
  return { path, source: path('model.onnx'), calibration: path('moments.safetensors') };
}

describe('few bits in the menu of compress', () => {
  it('writes what a dry run plans, within the bits, and says how much each matrix loses', async () => {
    const { path, source, calibration } = await model();
    const flags = ['--bits', '5.5', '--calibration', calibration];
    const plan = await lowrank(['compress', source, ...flags, '--dry-run', '--json']);
    const planned = JSON.parse(plan.stdout) as CompressReport;
    expect(planned.output).toBeUndefined();
    const done = await lowrank(['compress', source, '-o', path('out.onnx'), ...flags, '--json']);
    const report = JSON.parse(done.stdout) as CompressReport;
    expect(report.layers.map(({ description }) => description)).toEqual(
      planned.layers.map(({ description }) => description),
    );
    expect(report.bits.after).toBeLessThanOrEqual(5.5);
    expect(report.bytes.after).toBe((await stat(path('out.onnx'))).size);
    expect(report.layers).toHaveLength(3);
    for (const { error } of report.layers) expect(error).toBeLessThan(0.2);
    const text = await lowrank(['compress', source, '-o', path('text.onnx'), ...flags]);
    expect(text.stdout).toContain('bits a weight in 3 matrices');
    expect(text.code).toBe(0);
  });

  it('loses less with more bits, and writes no corrections where they are not wanted', async () => {
    const { source, calibration } = await model();
    const plan = async (bits: number, corrections: boolean) =>
      (await compressCheckpoint(source, undefined, { bits, calibration, corrections, dryRun: true })).layers;
    const losses: number[] = [];
    for (const bits of [3.5, 5, 7, 9]) {
      const layers = await plan(bits, true);
      losses.push(layers.reduce((sum, { error }) => sum + error ** 2, 0));
    }
    expect(losses).toEqual(losses.toSorted((a, b) => b - a));
    const ranks = async (corrections: boolean) => {
      const all = await Promise.all([4, 4.5, 5.5, 6, 6.5].map((bits) => plan(bits, corrections)));
      return all.flat().map(({ stored }) => (stored.kind === 'blocks' ? stored.rank : 0));
    };
    expect(Math.max(...(await ranks(true)))).toBeGreaterThan(0);
    expect(Math.max(...(await ranks(false)))).toBe(0);
  });

  it('keeps to a size, and refuses one that cannot be', async () => {
    const { path, source, calibration } = await model();
    const whole = (await stat(source)).size;
    const size = Math.floor(0.45 * whole);
    const { bytes } = await compressCheckpoint(source, path('out.onnx'), { size, calibration });
    expect(bytes.after).toBeLessThanOrEqual(size);
    expect(bytes.before).toBe(whole);
    const small = await lowrank(['compress', source, '-o', path('small.onnx'), '--size', '1KB']);
    expect(small.code).toBe(1);
    expect(small.stderr).toContain('bits a weight');
    expect(existsSync(path('small.onnx'))).toBe(false);
  });

  it.each(['q8', 'q4'] as const)('stores all matrices alike without a calibration: %s', async (preset) => {
    const { path, source } = await model();
    const report = await compressCheckpoint(source, path('out.onnx'), { preset });
    // 32 does not divide the 48 columns of two of them.
    const expected = preset === 'q8' ? ['int8', 'int8', 'int8'] : ['4 bits/32', '4 bits/16', '4 bits/16'];
    expect(report.layers.map(({ description }) => description)).toEqual(expected);
    expect(report.calibrated).toBe(false);
  });

  it('refuses contradictory and missing budgets', async () => {
    const { path, source } = await model();
    expect(await failure(compressCheckpoint(source, path('a'), {}))).toMatchObject({ code: 'ERR_ARGUMENT' });
    expect(await failure(compressCheckpoint(source, path('a'), { bits: 4, size: 1e6 }))).toMatchObject({
      code: 'ERR_ARGUMENT',
    });
    expect(await failure(compressCheckpoint(source, undefined, { bits: 4 }))).toMatchObject({ code: 'ERR_ARGUMENT' });
    expect(await failure(compressCheckpoint(source, path('a'), { bits: 4, corrections: true }))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
    });
    const usage = await lowrank(['compress', source, '-o', path('a')]);
    expect(usage.code).toBe(2);
    expect(usage.stderr).toContain('exactly one of preset, keep, size, bits and maxKl');
    expect(existsSync(path('a'))).toBe(false);
  });
});
