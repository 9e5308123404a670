import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type CalibrateOptions, calibrate } from '../../lib/compress/calibrate.js';
import type { Weighting } from '../../lib/compress/choose.js';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { openMoments } from '../../lib/compress/moments.js';
import { textSamples } from '../../lib/compress/samples.js';
import { lowrank } from '../support/cli.js';
import { failure } from '../support/failure.js';
import { distance, gaussian, norm, product } from '../support/matrices.js';
import { mlpWithInputs, vectors } from '../support/mlp-inputs.js';
import { linearModel, mlp } from '../support/onnx-mlp.js';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';
import { rankOf } from '../support/ranks.js';

const example = join(import.meta.dirname, '..', '..', 'examples', 'noisy-recall');

describe.skipIf(!hasPeers)(`calibrate by onnxruntime-node${unlessNoPeers}`, () => {
  it('sums what the layers see, and layers with one input share it', async () => {
    const { source, inputs, moments } = await mlpWithInputs();
    const report = await calibrate(source, moments, { inputs, peers, samples: 1000 });
    expect(report).toMatchObject({ samples: 800, vectors: 800, layers: 3, passes: 1 });
    const file = await openMoments(moments);
    const first = (await file.read('m.0.weight'))!;
    const x = vectors(800);
    const expected = new Float64Array(32 * 32);
    for (let row = 0; row < 800; row++) {
      for (let i = 0; i < 32 * 32; i++) {
        expected[i]! += (x[row * 32 + Math.floor(i / 32)]! * x[row * 32 + (i % 32)]!) / 800;
      }
    }
    expect(first).toMatchObject({ kind: 'inputs', count: 800 });
    expect(distance(first.second, expected)).toBeLessThan(1e-6 * norm(expected));
    await file.close();
  });

  it('runs the samples again where the sums do not fit, with the same result', async () => {
    const { source, inputs, moments, path } = await mlpWithInputs();
    await calibrate(source, moments, { inputs, peers, threads: 1, allInputs: true });
    const again = await calibrate(source, path('again'), {
      inputs,
      peers,
      threads: 1,
      maxMemory: 8 * 48 * 48,
      allInputs: true,
    });
    expect(again.passes).toBeGreaterThan(1);
    expect(await readFile(path('again'))).toEqual(await readFile(moments));
  });

  it('resumes after an interruption, to the same bytes', async () => {
    const { source, inputs, moments, path } = await mlpWithInputs();
    const options = { inputs, peers, threads: 1, maxMemory: 8 * 48 * 48, samples: 90 } as const;
    await calibrate(source, moments, options);
    for (const stopAt of [30, 100]) {
      const out = path(`stopped-${stopAt}`);
      const controller = new AbortController();
      const seen: number[] = [];
      const onProgress = ({ done }: { readonly done: number }) => {
        seen.push(done);
        if (done === stopAt) controller.abort(new Error('stopped'));
      };
      const stopped = calibrate(source, out, { ...options, signal: controller.signal, onProgress });
      await expect(stopped).rejects.toThrow('stopped');
      seen.length = 0;
      await calibrate(source, out, { ...options, onProgress: ({ done }) => seen.push(done) });
      expect(seen).toContain(stopAt);
      expect(seen).not.toContain(stopAt - 1);
      expect(await readFile(out)).toEqual(await readFile(moments));
      expect(existsSync(path(`.stopped-${stopAt}.lowrank`))).toBe(false);
    }
  });

  it('takes texts, for a model with its tokenizer', async () => {
    const { path } = await mlpWithInputs();
    const questions = await readFile(join(example, 'validation.jsonl'), 'utf8');
    const texts = questions.split('\n', 2).map((line) => (JSON.parse(line) as { prompt: string }).prompt);
    await writeFile(path('texts.txt'), texts.join('\n'));
    const model = join(example, 'model', 'model.onnx');
    const report = await calibrate(model, path('m.safetensors'), { texts: path('texts.txt'), peers });
    expect(report.samples).toBe(2);
    expect(report.vectors).toBeGreaterThan(2);
    expect(report.sums).toBeLessThanOrEqual(report.layers);
  });

  it('runs texts of one length together, with the same moments', async () => {
    const { path } = await mlpWithInputs();
    const model = join(example, 'model', 'model.onnx');
    const texts = Array.from({ length: 12 }, (_, i) => 'the cat sat on a mat '.repeat(1 + (i % 3)));
    const of = async (name: string, some: readonly string[]) => {
      await writeFile(path(`${name}.txt`), some.join('\n'));
      const report = await calibrate(model, path(name), { texts: path(`${name}.txt`), peers });
      const file = await openMoments(path(name));
      const read = await Promise.all([...file.weights].map((weight) => file.read(weight)));
      await file.close();
      return { report, read };
    };
    const all = await of('all', texts);
    expect(all.report.samples).toBe(12);
    // One after the other, since no two of these have the same length.
    const parts = await Promise.all([0, 3, 6, 9].map((i) => of(`part-${i}`, texts.slice(i, i + 3))));
    expect(parts[0]!.read.length).toBeGreaterThan(0);
    for (const [i, each] of all.read.entries()) {
      expect(each!.count).toBe(4 * parts[0]!.read[i]!.count!);
      expect(distance(each!.second, parts[0]!.read[i]!.second)).toBeLessThan(1e-5 * norm(each!.second));
    }
  });
});

describe.skipIf(!hasPeers)(`moments of layers with fewer outputs than inputs${unlessNoPeers}`, () => {
  const kinds = async (options: Partial<CalibrateOptions>) => {
    const { source, inputs, moments } = await mlpWithInputs(linearModel(gaussian([24, 32], 6).data, 24, 32));
    const { byOutputs } = await calibrate(source, moments, { inputs, peers, ...options });
    const file = await openMoments(moments);
    const { kind } = (await file.read('w'))!;
    await file.close();
    expect(byOutputs).toEqual(kind === 'outputs' ? ['w'] : []);
    return kind;
  };

  it('are those of the inputs where all fit into the memory, or where they are asked for', async () => {
    expect(await kinds({})).toBe('inputs');
    expect(await kinds({ maxMemory: 8 * 32 ** 2 })).toBe('inputs');
    expect(await kinds({ maxMemory: 8 * 32 ** 2 - 1, allInputs: true })).toBe('inputs');
  });

  it('are those of the outputs otherwise', async () => {
    expect(await kinds({ allInputs: false })).toBe('outputs');
    expect(await kinds({ maxMemory: 8 * 32 ** 2 - 1 })).toBe('outputs');
  });
});

describe.skipIf(!hasPeers)(`ranks that are tried on samples${unlessNoPeers}`, () => {
  it('are those of the weighting with which the outputs lose least', async () => {
    const { source, inputs, moments, path } = await mlpWithInputs();
    await calibrate(source, moments, { inputs, peers });
    const options = { keep: 0.5, calibration: moments, inputs, peers, dryRun: true } as const;
    const { losses, weighting, layers } = await compressCheckpoint(source, undefined, options);
    const weightings: Weighting[] = ['relative', 'probed^0.25', 'probed^0.5', 'probed^0.75', 'probed'];
    expect(Object.keys(losses)).toEqual(weightings);
    expect(losses[weighting]).toBe(Math.min(...Object.values(losses)));
    expect(losses[weighting]).toBeGreaterThan(0);
    expect(layers.some((layer) => rankOf(layer) !== undefined)).toBe(true);
    const plain = await compressCheckpoint(source, undefined, { keep: 0.5, calibration: moments, dryRun: true });
    expect(plain).toMatchObject({ weighting: 'relative', losses: {} });
    const limited = compressCheckpoint(source, undefined, { ...options, keep: undefined, maxKl: 0.1 });
    await expect(limited).rejects.toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('logits'),
    });
    // The plan is what is done.
    const written = await compressCheckpoint(source, path('out.onnx'), { ...options, dryRun: false });
    expect(written.losses).toEqual(losses);
    expect(written.check!.cosine).toBeGreaterThan(0.5);
    expect(written.check!.samples).toBeGreaterThan(0);
  });

  it('keep what the outputs lose by a layer in the work folder, for other budgets', async () => {
    const { source, inputs, moments, path } = await mlpWithInputs();
    await calibrate(source, moments, { inputs, peers });
    const options = { calibration: moments, inputs, peers, dryRun: true, work: path('work') } as const;
    const { layers } = await compressCheckpoint(source, undefined, { ...options, keep: 0.5 });
    const kept = await readFile(join(path('work'), 'measurements'), 'utf8');
    expect(kept.trim().split('\n')).toHaveLength(layers.length);
    const again = await compressCheckpoint(source, undefined, { ...options, keep: 0.7 });
    expect(await readFile(join(path('work'), 'measurements'), 'utf8')).toBe(kept);
    const { work, ...without } = options;
    const fresh = await compressCheckpoint(source, undefined, { ...without, keep: 0.7 });
    expect(again.losses).toEqual(fresh.losses);
  });

  it('come from short texts that run together', async () => {
    const { path } = await mlpWithInputs();
    const texts = Array.from({ length: 30 }, (_, i) => 'the cat sat on a mat '.repeat(1 + (i % 5)));
    await writeFile(path('texts.txt'), texts.join('\n'));
    const model = join(example, 'model', 'model.onnx');
    const alone = await textSamples(model, path('texts.txt'), { samples: 30, length: 12, peers });
    expect(alone.count).toBe(30);
    const sampling = { samples: 30, length: 12, together: 40, cut: true, peers };
    const together = await textSamples(model, path('texts.txt'), sampling);
    expect(together.count).toBeLessThan(15);
    expect(Math.max(...together.tokens!)).toBeLessThanOrEqual(40);
    const sum = (tokens: readonly number[]) => tokens.reduce((total, count) => total + count, 0);
    expect(sum(together.tokens!)).toBeGreaterThan(0.8 * sum(alone.tokens!));
    expect((await textSamples(model, path('texts.txt'), sampling)).digest).toBe(together.digest);
    expect(together.digest).not.toBe(alone.digest);
    const whole = await textSamples(model, path('texts.txt'), { ...sampling, cut: false });
    expect(sum(whole.tokens!)).toBe(sum(alone.tokens!));
    expect(sum(whole.sizes!)).toBe(30);
    expect(whole.count).toBeLessThan(30);
  });
});

describe.skipIf(!hasPeers)(`the smallest model within a divergence${unlessNoPeers}`, () => {
  it.each([false, true])('diverges by no more, and is smaller where more is allowed; float: %s', async (float) => {
    const { source, inputs, moments, path } = await mlpWithInputs(mlp({ output: 'logits' }));
    await calibrate(source, moments, { inputs, peers, allInputs: true });
    const options = { calibration: moments, inputs, peers, float, work: path('work') } as const;
    const sizes: number[] = [];
    for (const maxKl of [0.3, 0.01, 1e-8]) {
      const report = await compressCheckpoint(source, path(`${maxKl}.onnx`), { ...options, maxKl });
      expect(report.losses[report.weighting]).toBeLessThanOrEqual(maxKl);
      // On other samples, and with factors or codes as they are written.
      expect(report.check!.divergence).toBeLessThan(2 * maxKl + 1e-4);
      expect(report.layers.some(({ stored }) => stored.kind === 'blocks')).toBe(!float && maxKl > 1e-8);
      sizes.push(report.bytes.after);
    }
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
    expect(sizes[0]).toBeLessThan(0.8 * sizes[2]!);
  });
});

describe.skipIf(!hasPeers)(`layers within a time${unlessNoPeers}`, () => {
  it('take the forms whose kernels are fast enough here, and stay dense where all may be kept', async () => {
    const { path } = await mlpWithInputs();
    const [m, n] = [640, 512] as const;
    const [b, a] = [gaussian([m, 8], 3).data, gaussian([8, n], 4).data];
    await writeFile(path('low.onnx'), linearModel(product(b, a, m, 8, n), m, n));
    const options = { uncalibrated: true, peers, tokens: 64, threads: 1 };
    const low = await compressCheckpoint(path('low.onnx'), path('fast.onnx'), { ...options, latency: 0.5 });
    const { tokens, before, after } = low.latency!;
    expect(tokens).toBe(64);
    expect(before).toBeGreaterThan(0);
    expect(after).toBeLessThanOrEqual(0.5 * before);
    expect(low.layers[0]).toMatchObject({ description: 'rank 8 of 512' });
    const whole = await compressCheckpoint(path('low.onnx'), undefined, { ...options, latency: 1, dryRun: true });
    expect(whole.latency!.after).toBeLessThanOrEqual(whole.latency!.before);
    const table = ['compress', path('low.onnx'), '--latency', '0.5', '--uncalibrated', '--peers', peers, '--dry-run'];
    expect((await lowrank(table)).stdout).toMatch(/layers [\d.]+ -> [\d.]+ ms for 128 tokens/);
    expect(await failure(compressCheckpoint(path('low.onnx'), path('x'), { ...options, latency: 1e-6 }))).toMatchObject(
      {
        code: 'ERR_UNSUPPORTED',
        message: expect.stringContaining('of their time'),
      },
    );
    const wrong = { bits: 4, tokens: 64 };
    expect(await failure(compressCheckpoint(path('low.onnx'), path('x'), wrong))).toMatchObject({
      code: 'ERR_ARGUMENT',
    });
  });
});

describe.skipIf(!hasPeers)(`storage in few bits that is tried on samples${unlessNoPeers}`, () => {
  it('is that of the weighting with which the outputs lose least', async () => {
    const { source, inputs, moments, path } = await mlpWithInputs();
    await calibrate(source, moments, { inputs, peers });
    const options = { bits: 5, calibration: moments, inputs, peers } as const;
    const plan = await compressCheckpoint(source, undefined, { ...options, dryRun: true });
    expect(Object.keys(plan.losses)).toHaveLength(6);
    expect(plan.losses[plan.weighting]).toBe(Math.min(...Object.values(plan.losses)));
    const written = await compressCheckpoint(source, path('out.onnx'), options);
    expect(written.losses).toEqual(plan.losses);
    expect(written.bits.after).toBeLessThanOrEqual(5);
    expect(written.check!.cosine).toBeGreaterThan(0.95);
  });
});
