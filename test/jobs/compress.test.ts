import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { open } from '../../lib/checkpoint/open.js';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { writeMoments } from '../../lib/compress/moments.js';
import type { CompressReport } from '../../lib/compress/report.js';
import type { Moments } from '../../lib/index.js';
import { lowrank } from '../support/cli.js';
import { failure } from '../support/failure.js';
import { temporaryFolder } from '../support/folder.js';
import { distance, gaussian, norm, product } from '../support/matrices.js';
import { graphProto, modelProto, nodeProto, tensorProto } from '../support/onnx.js';
import { mlp, mlpWeight } from '../support/onnx-mlp.js';
import { rankOf } from '../support/ranks.js';
import { fill } from '../support/safetensors.js';

const NAMES = { first: 'm.0.weight', second: 'm.2.weight', last: 'm.5.weight' } as const;

/** A model with a file of moments: of vectors that lie mostly in a few directions. */
async function prepared(model = mlp()) {
  const folder = temporaryFolder();
  const source = join(folder, 'model.onnx');
  await fill(folder, { 'model.onnx': model });
  const moments = (n: number, count: number): Moments => {
    const x = gaussian([count, n], n).data.map((value, i) => value * 0.8 ** (i % n));
    const second = new Float64Array(n * n);
    for (let row = 0; row < count; row++) {
      for (let i = 0; i < n * n; i++) {
        second[i]! += (x[row * n + Math.floor(i / n)]! * x[row * n + (i % n)]!) / count;
      }
    }
    return { kind: 'inputs', second, count };
  };
  const calibration = join(folder, 'moments.safetensors');
  const all = new Map([
    [NAMES.first, moments(32, 900)],
    [NAMES.second, moments(48, 900)],
  ]);
  // A weight that two modules use is called as in the file.
  const shared = new Map([NAMES.last, 'onnx::MatMul_2'].map((name) => [name, NAMES.second] as const));
  await writeMoments(calibration, all, shared);
  return { folder, source, calibration, out: join(folder, 'smaller.onnx') };
}

describe('compress', () => {
  it.each(['pivoted', 'factors'] as const)('writes %s in place of weights, within the budget', async (storage) => {
    const { source, calibration, out } = await prepared();
    const report = await compressCheckpoint(source, out, { keep: 0.6, calibration, storage });
    const before = 48 * 32 + 48 * 48 + 40 * 48;
    expect(report.parameters.before).toBe(before);
    expect(report.parameters.after).toBeLessThanOrEqual(0.6 * before);
    expect(report.layers.map(({ name }) => name)).toEqual(Object.values(NAMES));
    expect(report).toMatchObject({ calibrated: true, withoutMoments: [], leftOut: [], output: { out } });
    expect(report.vectorsPerInput).toBeCloseTo(900 / 48, 10);
    expect(report.layers.some((layer) => rankOf(layer) !== undefined)).toBe(true);

    const result = await open(out);
    const numbers = [...result.tensors.values()]
      .filter(({ dtype, shape }) => dtype === 'F32' && shape.length === 2)
      .reduce((sum, { shape: [m, n] }) => sum + m! * n!, 0);
    expect(numbers).toBe(report.parameters.after);
    const saved = (await stat(source)).size - (await stat(out)).size;
    // What names, nodes and orders of rows take.
    expect(saved).toBeGreaterThan(4 * (before - report.parameters.after) - 3500);
    await result.close();
  });

  it('writes factors whose product is near the weight where the inputs are', async () => {
    const { source, calibration, out } = await prepared();
    const { layers } = await compressCheckpoint(source, out, { keep: 0.6, calibration, storage: 'factors' });
    const first = layers[0]!;
    const rank = rankOf(first)!;
    expect(rank).toBeGreaterThan(0);
    const result = await open(out);
    const read = async (what: string) => {
      const name = `onnx::MatMul_1.lowrank.${what}`;
      return new Float32Array((await result.read(name)).slice().buffer);
    };
    const [left, right] = [await read('left'), await read('right')];
    const x = gaussian([50, 32], 32).data.map((value, i) => value * 0.8 ** (i % 32));
    const w = mlpWeight(48, 32, 1);
    const turned = w.map((_, at) => w[(at % 48) * 32 + Math.floor(at / 48)]!);
    const y = product(x, turned, 50, 32, 48);
    const small = product(product(x, left, 50, 32, rank), right, 50, rank, 48);
    expect(distance(y, small) / norm(y)).toBeLessThan(2 * first.error + 1e-6);
    await result.close();
  });

  it('plans without writing, and the plan is what is done', async () => {
    const { source, calibration, out } = await prepared();
    const plan = await compressCheckpoint(source, undefined, { keep: 0.7, calibration, dryRun: true });
    expect(plan.output).toBeUndefined();
    const done = await compressCheckpoint(source, out, { keep: 0.7, calibration });
    expect(done.layers.map(rankOf)).toEqual(plan.layers.map(rankOf));
    for (const [i, { error }] of done.layers.entries()) expect(error).toBeCloseTo(plan.layers[i]!.error, 5);
  });

  it('keeps everything where all may be kept', async () => {
    const { source, calibration, out } = await prepared();
    const { layers, parameters } = await compressCheckpoint(source, out, { keep: 1, calibration });
    expect(layers.every(({ stored, error }) => stored.kind === 'dense' && error === 0)).toBe(true);
    expect(parameters.after).toBe(parameters.before);
  });

  it('moves the error of the mean into the biases that the moments have a mean for', async () => {
    const { folder, source, out } = await prepared();
    // Vectors that lie mostly in a few directions, but around a mean that does not.
    const [count, n] = [900, 32];
    const x = gaussian([count, n], n).data.map((value, i) => value * 0.8 ** (i % n) + 1);
    const [second, mean] = [new Float64Array(n * n), new Float64Array(n)];
    for (let row = 0; row < count; row++) {
      for (let i = 0; i < n; i++) mean[i]! += x[row * n + i]! / count;
      for (let i = 0; i < n * n; i++) second[i]! += (x[row * n + Math.floor(i / n)]! * x[row * n + (i % n)]!) / count;
    }
    const compressed = async (name: string, moments: Moments) => {
      const calibration = join(folder, `${name}.safetensors`);
      await writeMoments(calibration, new Map([[NAMES.first, moments]]));
      await compressCheckpoint(source, `${out}-${name}`, { keep: 0.5, calibration, storage: 'factors' });
      const result = await open(`${out}-${name}`);
      const read = async (tensor: string) => new Float32Array((await result.read(tensor)).slice().buffer);
      const factors = await Promise.all(['left', 'right'].map((what) => read(`onnx::MatMul_1.lowrank.${what}`)));
      const bias = await read('m.0.bias');
      await result.close();
      const rank = factors[0]!.length / n;
      const y = product(product(x, factors[0]!, count, n, rank), factors[1]!, count, rank, 48);
      return { bias, y: y.map((value, i) => value + bias[i % 48]!) };
    };
    const original = await open(source);
    const bias = new Float32Array((await original.read('m.0.bias')).slice().buffer);
    await original.close();
    const w = mlpWeight(48, n, 1);
    const turned = w.map((_, at) => w[(at % 48) * n + Math.floor(at / 48)]!);
    const y = product(x, turned, count, n, 48).map((value, i) => value + bias[i % 48]!);
    const meanOf = (values: ArrayLike<number>) =>
      Float64Array.from({ length: 48 }, (_, j) => {
        let sum = 0;
        for (let row = 0; row < count; row++) sum += values[row * 48 + j]!;
        return sum / count;
      });

    const plain = await compressed('plain', { kind: 'inputs', second, count });
    expect(plain.bias).toEqual(bias);
    const corrected = await compressed('corrected', { kind: 'inputs', second, mean, count });
    expect(distance(corrected.bias, bias)).toBeGreaterThan(1e-3 * norm(bias));
    expect(distance(meanOf(corrected.y), meanOf(y))).toBeLessThan(1e-5 * norm(meanOf(y)));
    expect(distance(corrected.y, y)).toBeLessThan(0.95 * distance(plain.y, y));
  });

  it('refuses external data from which another graph of the folder reads', async () => {
    const { folder } = await prepared();
    // A model with external data is a folder, and so is its copy.
    const out = join(folder, 'smaller');
    const data = { location: 'model.data', length: '4096' };
    const weight = tensorProto({ name: 'w', dims: [32, 32], external: data });
    const graph = graphProto([nodeProto({ op: 'MatMul', name: '/m/MatMul', inputs: ['x', 'w'] })], [weight]);
    const [model, other] = ['a', 'b'].map((name) => join(folder, 'pair', `${name}.onnx`)) as [string, string];
    await mkdir(join(folder, 'pair'));
    await fill(join(folder, 'pair'), {
      'a.onnx': modelProto(graph),
      'b.onnx': modelProto(graph),
      'model.data': new Uint8Array(gaussian([32, 32], 1).data.buffer),
    });
    const options = { keep: 0.5, uncalibrated: true, storage: 'factors' } as const;
    expect(await failure(compressCheckpoint(model, out, options))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('b.onnx'),
    });
    await rm(other);
    const { layers } = await compressCheckpoint(model, out, options);
    expect(rankOf(layers[0]!)).toBeGreaterThan(0);
    expect((await stat(join(out, 'model.data'))).size).toBeLessThan(2300);
  });

  it('shares the factors of a weight that two nodes share', async () => {
    const { source, calibration, out } = await prepared(mlp({ shared: true }));
    const { layers } = await compressCheckpoint(source, out, { keep: 0.5, calibration });
    expect(rankOf(layers[1]!)).toBeGreaterThan(0);
    const result = await open(out);
    expect(result.tensors.get('onnx::MatMul_2.lowrank.left')).toMatchObject({ users: expect.any(Array) });
    await result.close();
  });

  it('wants moments, or to be told to do without', async () => {
    const { source, out, folder } = await prepared();
    expect(await failure(compressCheckpoint(source, out, { keep: 0.5 }))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      hint: expect.stringContaining('--calibration'),
    });
    const plain = await compressCheckpoint(source, out, { keep: 0.5, uncalibrated: true });
    expect(plain).toMatchObject({ calibrated: false, vectorsPerInput: undefined });
    expect((await failure(compressCheckpoint(source, out, { keep: 0, uncalibrated: true }))).code).toBe('ERR_ARGUMENT');
    const none = join(folder, 'none.safetensors');
    await writeMoments(none, new Map([['other', { kind: 'diagonal', second: Float64Array.of(1) }]]));
    expect(
      (await failure(compressCheckpoint(source, join(folder, 'x.onnx'), { keep: 0.5, calibration: none }))).code,
    ).toBe('ERR_UNSUPPORTED');
  });

  it('stays below the size of the file that was asked for', async () => {
    const { source, calibration, out } = await prepared();
    const { size: before } = await stat(source);
    const size = Math.round(0.8 * before);
    const report = await compressCheckpoint(source, out, { size, calibration, float: true });
    expect((await stat(out)).size).toBeLessThanOrEqual(size);
    expect((await stat(out)).size).toBeGreaterThan(0.95 * size);
    expect(report.bytes).toEqual({ before, after: (await stat(out)).size });
    const tiny = failure(compressCheckpoint(source, `${out}.2`, { size: 100, calibration }));
    expect(await tiny).toMatchObject({ code: 'ERR_UNSUPPORTED', message: expect.stringContaining('cannot become') });
    const two = failure(compressCheckpoint(source, `${out}.2`, { size, keep: 0.5, calibration }));
    expect(await two).toMatchObject({ code: 'ERR_ARGUMENT', message: expect.stringContaining('exactly one') });
    const coded = await compressCheckpoint(source, `${out}.2`, { size, calibration });
    expect((await stat(`${out}.2`)).size).toBe(coded.bytes.after);
    expect(coded.bytes.after).toBeLessThanOrEqual(size);
    expect(readdirSync(dirname(out)).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  it('reuses the decompositions of a work folder for another budget', async () => {
    const { source, calibration, out, folder } = await prepared();
    const work = join(folder, 'work');
    await compressCheckpoint(source, out, { keep: 0.8, calibration, work });
    const files = readdirSync(work);
    expect(files.filter((name) => name.endsWith('.safetensors'))).toHaveLength(3);
    const times = files.map((name) => statSync(join(work, name)).mtimeMs);
    const resumed: (number | undefined)[] = [];
    await compressCheckpoint(source, `${out}.2`, {
      keep: 0.6,
      calibration,
      work,
      onProgress: ({ done }) => resumed.push(done),
    });
    expect(readdirSync(work).map((name) => statSync(join(work, name)).mtimeMs)).toEqual(times);
    await compressCheckpoint(source, `${out}.3`, { keep: 0.6, calibration });
    expect(readFileSync(`${out}.2`).equals(readFileSync(`${out}.3`))).toBe(true);
    writeFileSync(join(work, 'mine.txt'), 'mine');
    await compressCheckpoint(source, `${out}.4`, { keep: 0.6, calibration, work, restart: true });
    expect(readdirSync(work)).toContain('mine.txt');
  });

  it('resumes after an abort, to the same bytes', async () => {
    const { source, calibration, out } = await prepared();
    const controller = new AbortController();
    const stopped = compressCheckpoint(source, out, {
      keep: 0.6,
      calibration,
      signal: controller.signal,
      onProgress: ({ done }) => done >= 2 && controller.abort(new Error('stopped')),
    });
    await expect(stopped).rejects.toThrow('stopped');
    const left = join(dirname(out), `.${basename(out)}.lowrank`, 'layers');
    const kept = readdirSync(left).filter((name) => name.endsWith('.safetensors'));
    expect(kept.length).toBeGreaterThan(0);
    await compressCheckpoint(source, out, { keep: 0.6, calibration });
    expect(existsSync(dirname(left))).toBe(false);
    await compressCheckpoint(source, `${out}.2`, { keep: 0.6, calibration });
    expect(readFileSync(out).equals(readFileSync(`${out}.2`))).toBe(true);
  });

  it('is spread over shards, and merged to the bytes of one run', async () => {
    const { source, calibration, out, folder } = await prepared();
    const file = join(folder, 'plan.json');
    const single = `${out}.single`;
    await compressCheckpoint(source, single, { keep: 0.6, calibration, threads: 1 });
    const flags = ['--keep', '0.6', '--calibration', calibration, '--threads', '1', '--shards', '2', '-f', file];
    expect(await lowrank(['plan', source, '-o', out, ...flags])).toMatchObject({ code: 0 });
    expect(await lowrank(['run', file, '--shard', '2/2'])).toMatchObject({ code: 0 });
    const early = await lowrank(['merge', file]);
    expect(early.code).toBe(1);
    expect(early.stderr).toContain('these are 1');
    const run = await lowrank(['run', file, '--shard', '1/2']);
    expect(run.stdout).toContain('shard 1 of 2');
    expect((await lowrank(['run', file, '--shard', '1/2'])).stdout).toMatch(/(\d) decompositions?, \1 already done/);
    expect(await lowrank(['merge', file])).toMatchObject({ code: 0 });
    expect(readFileSync(out).equals(readFileSync(single))).toBe(true);
    const both = await lowrank(['plan', source, '-o', out, '--keep', '0.6', '--at', 'all:mlp:0.1', '-f', file]);
    expect(both).toMatchObject({ code: 2 });
  });

  it('is a command with a table, JSON and warnings', async () => {
    const { source, calibration, out } = await prepared();
    const plan = await lowrank(['compress', source, '--keep', '0.6', '--calibration', calibration, '--dry-run']);
    expect(plan).toMatchObject({ code: 0 });
    expect(plan.stdout).toContain('nothing written');
    expect(plan.stderr).toContain('vectors of calibration for each input');
    const done = await lowrank([
      'compress',
      source,
      '-o',
      out,
      '--keep',
      '0.6',
      '--calibration',
      calibration,
      '--json',
    ]);
    const report = JSON.parse(done.stdout) as CompressReport;
    expect(report.layers).toHaveLength(3);
    expect(report.output!.out).toBe(out);
    const wrong = await lowrank(['compress', source, '--keep', '0.6', '--calibration', calibration]);
    expect(wrong).toMatchObject({ code: 2 });
    expect(wrong.stderr).toContain('missing output path');
  });
});
