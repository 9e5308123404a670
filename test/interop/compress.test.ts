import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import { calibrate } from '../../lib/compress/calibrate.js';
import type { Weighting } from '../../lib/compress/choose.js';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { openMoments } from '../../lib/compress/moments.js';
import { textSamples } from '../../lib/compress/samples.js';
import { temporaryFolder } from '../support/folder.js';
import { distance, gaussian, norm } from '../support/matrices.js';
import { mlp } from '../support/onnx-mlp.js';
import { fill } from '../support/safetensors.js';
import { python, root, runPython, unlessNoPython } from './python.js';

const peers = join(root, 'test', 'peers');
const hasPeers = existsSync(join(peers, 'node_modules'));
const unlessNoPeers = hasPeers ? '' : ' (skipped: no engines; npm --prefix test/peers ci)';

/** Vectors that lie mostly in a few directions. */
const vectors = (count: number) => gaussian([count, 32], 5).data.map((value, i) => value * 0.8 ** (i % 32));

async function prepared(model = mlp()) {
  const folder = temporaryFolder();
  await fill(folder, { 'model.onnx': model });
  const bytes = new Uint8Array(vectors(800).buffer);
  const inputs = join(folder, 'inputs.safetensors');
  await writeSafetensors(inputs, new Map([['x', { dtype: 'F32', shape: [800, 32], bytes }]]));
  const path = (name: string) => join(folder, name);
  return { path, source: path('model.onnx'), inputs, moments: path('moments.safetensors') };
}

describe.skipIf(!hasPeers)(`calibrate by onnxruntime-node${unlessNoPeers}`, () => {
  it('sums what the layers see, and layers with one input share it', async () => {
    const { source, inputs, moments } = await prepared();
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
    const { source, inputs, moments, path } = await prepared();
    await calibrate(source, moments, { inputs, peers, threads: 1 });
    const again = await calibrate(source, path('again'), { inputs, peers, threads: 1, maxMemory: 8 * 48 * 48 });
    expect(again.passes).toBeGreaterThan(1);
    expect(await readFile(path('again'))).toEqual(await readFile(moments));
  });

  it('resumes after an interruption, to the same bytes', async () => {
    const { source, inputs, moments, path } = await prepared();
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
    const { path } = await prepared();
    const questions = await readFile(join(root, 'examples', 'noisy-recall', 'validation.jsonl'), 'utf8');
    const texts = questions.split('\n', 2).map((line) => (JSON.parse(line) as { prompt: string }).prompt);
    await writeFile(path('texts.txt'), texts.join('\n'));
    const model = join(root, 'examples', 'noisy-recall', 'model', 'model.onnx');
    const report = await calibrate(model, path('m.safetensors'), { texts: path('texts.txt'), peers });
    expect(report.samples).toBe(2);
    expect(report.vectors).toBeGreaterThan(2);
    expect(report.sums).toBeLessThanOrEqual(report.layers);
  });
});

describe.skipIf(!hasPeers)(`ranks that are tried on samples${unlessNoPeers}`, () => {
  it('are those of the weighting with which the outputs lose least', async () => {
    const { source, inputs, moments, path } = await prepared();
    await calibrate(source, moments, { inputs, peers });
    const options = { keep: 0.5, calibration: moments, inputs, peers, dryRun: true } as const;
    const { losses, weighting, layers } = await compressCheckpoint(source, undefined, options);
    const weightings: Weighting[] = ['relative', 'probed^0.25', 'probed^0.5', 'probed^0.75', 'probed'];
    expect(Object.keys(losses)).toEqual(weightings);
    expect(losses[weighting]).toBe(Math.min(...Object.values(losses)));
    expect(losses[weighting]).toBeGreaterThan(0);
    expect(layers.some(({ rank }) => rank !== undefined)).toBe(true);
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
    const { source, inputs, moments, path } = await prepared();
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
    const { path } = await prepared();
    const texts = Array.from({ length: 30 }, (_, i) => 'the cat sat on a mat '.repeat(1 + (i % 5)));
    await writeFile(path('texts.txt'), texts.join('\n'));
    const model = join(root, 'examples', 'noisy-recall', 'model', 'model.onnx');
    const alone = await textSamples(model, path('texts.txt'), { samples: 30, length: 12, peers });
    expect(alone.count).toBe(30);
    const sampling = { samples: 30, length: 12, together: 40, peers };
    const together = await textSamples(model, path('texts.txt'), sampling);
    expect(together.count).toBeLessThan(15);
    expect(Math.max(...together.tokens!)).toBeLessThanOrEqual(40);
    const sum = (tokens: readonly number[]) => tokens.reduce((total, count) => total + count, 0);
    expect(sum(together.tokens!)).toBeGreaterThan(0.8 * sum(alone.tokens!));
    expect((await textSamples(model, path('texts.txt'), sampling)).digest).toBe(together.digest);
    expect(together.digest).not.toBe(alone.digest);
  });
});

describe.skipIf(!python || !hasPeers)(`compressed models${unlessNoPython}${unlessNoPeers}`, () => {
  const cases = (['pivoted', 'factors'] as const).flatMap((storage) =>
    [0.9, 0.5].flatMap((keep) => [false, true].map((shared) => ({ storage, keep, shared }))),
  );

  it.each(cases)('run in onnxruntime as NumPy multiplies them out: %o', async ({ storage, keep, shared }) => {
    const { source, inputs, moments, path } = await prepared(mlp({ shared }));
    await calibrate(source, moments, { inputs, peers });
    const report = await compressCheckpoint(source, path('out.onnx'), { keep, calibration: moments, storage });
    expect(report.layers.some(({ rank }) => rank !== undefined)).toBe(true);
    const verdict = JSON.parse(await runPython('compress_judge.py', source, path('out.onnx'), inputs)) as {
      difference: number;
      loss: number;
      operators: string[];
    };
    expect(verdict.difference).toBeLessThan(1e-4);
    expect(verdict.loss).toBeLessThan(keep === 0.9 ? 0.05 : 0.6);
    // All constant nodes are gone once the model is loaded.
    expect(new Set(verdict.operators)).toEqual(
      new Set(verdict.operators.filter((op) => /MatMul|Gemm|Add|Relu/.test(op))),
    );
  });
});

describe.skipIf(!python)(`the program of docs/calibration.md${unlessNoPython}`, () => {
  it('writes moments that are read here', async () => {
    const out = join(temporaryFolder(), 'moments.safetensors');
    const expected = JSON.parse(await runPython('compress_torch.py', out)) as { second: number[]; mean: number[] };
    const file = await openMoments(out);
    expect([...file.weights].sort()).toEqual(['down.weight', 'k.weight', 'q.weight']);
    const moments = (await file.read('q.weight'))!;
    expect(distance(moments.second, expected.second)).toBeLessThan(1e-10);
    expect(distance(moments.mean!, expected.mean)).toBeLessThan(1e-12);
    expect(moments.count).toBe(14);
    expect(await file.read('k.weight')).toEqual(moments);
    await file.close();
  });
});
