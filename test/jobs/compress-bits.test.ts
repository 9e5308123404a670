import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { writeMoments } from '../../lib/compress/moments.js';
import type { CompressOptions } from '../../lib/compress/options.js';
import type { CompressReport } from '../../lib/compress/report.js';
import type { Moments } from '../../lib/lowrank/moments.js';
import { lowrank } from '../support/cli.js';
import { failure } from '../support/failure.js';
import { temporaryFolder } from '../support/folder.js';
import { gaussian, product } from '../support/matrices.js';
import { linearModel, mlp } from '../support/onnx-mlp.js';
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

  it('takes float factors where a matrix has a low rank, and few bits where it has not', async () => {
    const { path, calibration } = await model();
    const [b, a] = [gaussian([128, 8], 3).data, gaussian([8, 128], 4).data];
    await fill(path(''), {
      'low.onnx': linearModel(product(b, a, 128, 8, 128), 128, 128),
      'full.onnx': linearModel(gaussian([128, 128], 5).data, 128, 128),
    });
    await writeMoments(calibration, new Map([['w', moments(128, 6)]]), new Map(), { replace: true });
    const choice = async (name: string, storage: 'factors' | 'pivoted') => {
      const options = { bits: 5, calibration, storage };
      const { layers } = await compressCheckpoint(path(`${name}.onnx`), path(`${name}-${storage}.onnx`), options);
      return layers[0]!;
    };
    for (const storage of ['factors', 'pivoted'] as const) {
      const low = await choice('low', storage);
      expect(low.stored).toEqual({ kind: 'factors', rank: 8, storage });
      expect(low.description).toBe('rank 8 of 128');
      expect(low.error).toBeLessThan(1e-4);
      // Pivoted, 8 of the rows are those of the identity, and each row has its place.
      expect(low.bytes).toBe(4 * (storage === 'factors' ? 8 * 256 : 8 * 248 + 128));
      expect((await choice('full', storage)).stored.kind).toBe('blocks');
    }
    const dense = await compressCheckpoint(path('full.onnx'), path('dense.onnx'), { bits: 32, calibration });
    expect(dense.layers[0]).toMatchObject({ stored: { kind: 'dense' }, error: 0 });
  });

  it('keeps what it has measured in the work folder, for other budgets', async () => {
    const { path, source, calibration } = await model();
    const options = { calibration, work: path('work') };
    await compressCheckpoint(source, path('a.onnx'), { ...options, bits: 5 });
    const kept = await readFile(join(path('work'), 'measurements'), 'utf8');
    // Formats and their corrections, and int8, of three layers.
    expect(kept.trim().split('\n').length).toBeGreaterThan(3 * 10);
    await compressCheckpoint(source, path('b.onnx'), { ...options, bits: 7 });
    expect(await readFile(join(path('work'), 'measurements'), 'utf8')).toBe(kept);
    await compressCheckpoint(source, path('c.onnx'), { calibration, bits: 7 });
    expect(await readFile(path('c.onnx'))).toEqual(await readFile(path('b.onnx')));
  });

  it('is spread over shards, and merged to the bytes of one run', async () => {
    const { path, source, calibration } = await model();
    const flags = ['--bits', '6.5', '--calibration', calibration, '--no-corrections', '--threads', '1'];
    const run = async (...args: string[]) => expect(await lowrank(args)).toMatchObject({ code: 0 });
    await run('compress', source, '-o', path('single.onnx'), ...flags);
    await run('plan', source, '-o', path('merged.onnx'), ...flags, '-f', path('plan.json'));
    await run('run', path('plan.json'), '--shard', '1/1');
    await run('merge', path('plan.json'));
    expect(await readFile(path('merged.onnx'))).toEqual(await readFile(path('single.onnx')));
    const without = await lowrank(['plan', source, '-o', path('x.onnx'), '--bits', '6', '-f', path('x.json')]);
    expect(without).toMatchObject({ code: 1, stderr: expect.stringContaining('missing calibration') });
  });

  it('writes a folder for transformers.js', async () => {
    const { path, source } = await model();
    const failed = await failure(compressCheckpoint(source, path('small'), { preset: 'q4', dtype: 'q4' }));
    expect(failed).toMatchObject({ code: 'ERR_UNSUPPORTED', message: expect.stringContaining('config.json') });
    await mkdir(path('my-model/onnx'), { recursive: true });
    await fill(path('my-model'), {
      'config.json': '{}',
      'pytorch_model.bin': 'w',
      'onnx/model_fp16.onnx': 'w',
      'onnx/model.onnx': mlp(),
    });
    const flags = ['--preset', 'q8', '--dtype', 'q8', '--json'];
    const done = await lowrank(['compress', path('my-model'), '-o', path('small'), ...flags]);
    const { output } = JSON.parse(done.stdout) as CompressReport;
    expect(output!.entryPoint).toBe(path('small/onnx/model_quantized.onnx'));
    expect((await readdir(path('small'), { recursive: true })).sort()).toEqual([
      'config.json',
      'onnx',
      'onnx/model_quantized.onnx',
    ]);
    expect(await failure(compressCheckpoint(path('my-model'), path('small'), { bits: 8, dtype: 'q8' }))).toMatchObject({
      kind: 'OutputExists',
    });
    const inside = failure(compressCheckpoint(path('my-model'), path('my-model/q8'), { bits: 8, dtype: 'q8' }));
    expect(await inside).toMatchObject({ kind: 'OutputInsideInput' });
    expect(await readdir(path('my-model'))).not.toContain('q8');
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

  it('refuses the preset q4f16, and says why; others by the names that there are', async () => {
    const { path, source } = await model();
    const compress = (preset: string) => lowrank(['compress', source, '-o', path('a'), '--preset', preset]);
    const half = await compress('q4f16');
    expect(half.code).toBe(1);
    expect(half.stderr).toMatch(/preset q4f16: float16 activations .*\n.*Use q4/);
    const unknown = await compress('q5');
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toMatch(/preset.*q8.*q4/);
    expect(existsSync(path('a'))).toBe(false);
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
    const wrong = async (options: CompressOptions) => {
      expect(await failure(compressCheckpoint(source, path('a'), options))).toMatchObject({ code: 'ERR_ARGUMENT' });
    };
    await wrong({ preset: 'q4', keep: 0.5 });
    await wrong({ preset: 'q4', float: true });
    await wrong({ preset: 'q4', corrections: true });
    await wrong({ keep: 0.5, uncalibrated: true, embeddings: true });
    await wrong({ bits: 33 });
    await wrong({ bits: 4, accuracyLevel: 5 });
    const usage = await lowrank(['compress', source, '-o', path('a')]);
    expect(usage.code).toBe(2);
    expect(usage.stderr).toContain('exactly one of preset, latency, keep, size, bits and maxKl');
    expect(existsSync(path('a'))).toBe(false);
  });
});
