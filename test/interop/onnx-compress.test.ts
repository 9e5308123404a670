import { existsSync } from 'node:fs';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { SafetensorsFile, writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import { calibrate } from '../../lib/compress/calibrate.js';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { openMoments } from '../../lib/compress/moments.js';
import type { CompressOptions } from '../../lib/compress/options.js';
import type { CompressReport } from '../../lib/compress/report.js';
import type { Runtime } from '../../lib/evaluate/engines/onnx-feeds.js';
import { importPeer } from '../../lib/evaluate/engines/peers.js';
import { toFloat32 } from '../../lib/tensor/convert.js';
import { failure } from '../support/failure.js';
import { temporaryFolder } from '../support/folder.js';
import { distance, gaussian, norm } from '../support/matrices.js';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';
import { rankOf } from '../support/ranks.js';
import { python, root, runPython, unlessNoPython } from './python.js';

/** What `compress_judge.py` writes, explained there. */
interface Verdict {
  readonly difference: number;
  readonly loss: number;
  readonly shift: number;
  readonly factored: readonly string[];
  readonly biases: readonly string[];
}

/** The bytes of all files of a folder. */
async function bytesOf(folder: string): Promise<number> {
  const sizes = (await readdir(folder)).map(async (file) => (await stat(join(folder, file))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

describe.skipIf(!python || !hasPeers)(`linear layers of ONNX models${unlessNoPython}${unlessNoPeers}`, () => {
  const folder = temporaryFolder();
  const at = (...path: string[]) => join(folder, ...path);

  beforeAll(() => runPython('onnx_layers.py', at('models')), 120_000);

  /** Calibrates and compresses a model, and has onnx and onnxruntime judge the result. */
  async function compressed(name: string, options: Partial<CompressOptions> = {}) {
    const source = at('models', name, 'model.onnx');
    const inputs = at('models', name, 'inputs.safetensors');
    const moments = at(`${name}.safetensors`);
    if (!options.uncalibrated && !existsSync(moments))
      await calibrate(source, moments, { inputs, peers, samples: 400 });
    const external = name.startsWith('external');
    const out = at(`${name}-${options.storage ?? 'pivoted'}${external ? '' : '.onnx'}`);
    const report = await compressCheckpoint(source, out, {
      keep: 0.6,
      ...(options.uncalibrated ? {} : { calibration: moments }),
      ...options,
    });
    const result = external ? join(out, 'model.onnx') : out;
    const verdict = JSON.parse(await runPython('compress_judge.py', source, result, inputs)) as Verdict;
    return { report, verdict, out };
  }
  const reasons = ({ leftOut }: CompressReport) => Object.fromEntries(leftOut.map(({ name, why }) => [name, why]));

  it.each([9, 11, 13, 17, 21, 23])('run in opset %i, with biases that keep the mean', async (opset) => {
    for (const storage of ['pivoted', 'factors'] as const) {
      const { verdict } = await compressed(`opset-${opset}`, { storage });
      expect(verdict.factored.length).toBeGreaterThan(0);
      expect(verdict.difference).toBeLessThan(1e-4);
      expect(verdict.loss).toBeLessThan(0.2);
      // The Gemm scales product and bias differently.
      const withBias = verdict.factored.filter((name) => name !== 'last').map((name) => `${name}.bias`);
      expect(verdict.biases).toEqual(withBias);
    }
  });

  it.each([7, 8])('run in opset %i, as plain factors', async (opset) => {
    const { verdict } = await compressed(`opset-${opset}`, { storage: 'factors' });
    expect(verdict.factored.length).toBeGreaterThan(0);
    expect(verdict.difference).toBeLessThan(1e-4);
    expect(await failure(compressed(`opset-${opset}`))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      hint: expect.stringContaining(`opset ${opset} has no operators for pivoted factors`),
    });
  });

  it.each(['transposed', 'fused'])('run: %s', async (name) => {
    for (const storage of ['pivoted', 'factors'] as const) {
      const { verdict } = await compressed(name, { storage });
      expect(verdict.factored).toContain(name === 'fused' ? 'qkv' : 'first');
      expect(verdict.biases).toContain(name === 'fused' ? 'qkv.bias' : 'first.bias');
      expect(verdict.difference).toBeLessThan(1e-4);
    }
  });

  it('run in float16', async () => {
    const { verdict } = await compressed('float16');
    expect(verdict.factored.length).toBeGreaterThan(0);
    expect(verdict.difference).toBeLessThan(0.01);
  });

  it('run where several nodes share a weight and a bias, which get one pair of factors', async () => {
    const { report, verdict } = await compressed('shared', { keep: 0.5 });
    expect(verdict.factored).toContain('again');
    expect(verdict.biases).toContain('again.bias');
    expect([report.leftOut, report.withoutMoments]).toEqual([[], []]);
    expect(verdict.difference).toBeLessThan(1e-4);
  });

  it('run in the branches of an If, which share factors and biases', async () => {
    for (const name of ['branches', 'external-branches'] as const) {
      for (const storage of ['pivoted', 'factors'] as const) {
        const { report, verdict } = await compressed(name, { storage, keep: 0.5 });
        expect([report.leftOut, report.withoutMoments]).toEqual([[], []]);
        expect(verdict.factored).toContain('again');
        const withBias = verdict.factored.filter((weight) => ['first', 'again'].includes(weight));
        // In one branch, what is added is the sum of two products.
        expect(verdict.biases).toEqual(withBias.map((weight) => `${weight}.bias`));
        expect(verdict.difference).toBeLessThan(1e-4);
        expect(verdict.loss).toBeLessThan(0.3);
      }
    }
  });

  it('are calibrated in the branches that samples choose', async () => {
    const [source, inputs] = ['model.onnx', 'inputs.safetensors'].map((file) => at('models', 'branches', file));
    const report = await calibrate(source!, at('both'), { inputs, peers, samples: 600 });
    expect(report).toMatchObject({ samples: 600, layers: 4, unseen: [] });
    const moments = await openMoments(at('both'));
    const [first, alone] = [await moments.read('a.weight'), await moments.read('m.weight')];
    await moments.close();
    // Every third sample runs the branch in which it is used.
    expect([first!.count, alone!.count]).toEqual([600, 200]);
    const file = await SafetensorsFile.open(inputs!);
    const x = toFloat32(await file.read(file.header.tensors.find(({ name }) => name === 'x')!), 'F32');
    await file.close();
    const mean = (step: number, of: (value: number) => number) =>
      Float64Array.from({ length: 32 }, (_, j) => {
        let sum = 0;
        for (let row = 0; row < 600; row += step) sum += of(x[32 * row + j]!);
        return (sum * step) / 600;
      });
    const [all, positive] = [mean(1, (value) => value), mean(3, (value) => Math.max(0, value))];
    expect(distance(first!.mean!, all)).toBeLessThan(1e-6 * norm(all));
    expect(distance(alone!.mean!, positive)).toBeLessThan(1e-6 * norm(positive));

    const never = at('never.safetensors');
    await writeSafetensors(
      never,
      new Map([
        ['x', { dtype: 'F32', shape: [600, 32], bytes: new Uint8Array(x.buffer) }],
        ['use_cache_branch', { dtype: 'BOOL', shape: [600], bytes: new Uint8Array(600) }],
      ]),
      new Map(),
    );
    const half = await calibrate(source!, at('half'), { inputs: never, peers });
    expect(half).toMatchObject({ layers: 3, unseen: ['m.weight'] });
    const options = { keep: 0.5, calibration: at('half'), dryRun: true };
    const { withoutMoments } = await compressCheckpoint(source!, undefined, options);
    expect(withoutMoments).toEqual(['m.weight']);
  });

  it('have ranks tried on samples in the branches of an If', async () => {
    const [source, inputs] = ['model.onnx', 'inputs.safetensors'].map((file) => at('models', 'branches', file));
    const calibration = at('tried.safetensors');
    await calibrate(source!, calibration, { inputs, peers });
    const report = await compressCheckpoint(source!, at('tried.onnx'), { keep: 0.6, calibration, inputs, peers });
    expect(report.check!.cosine).toBeGreaterThan(0.9);
  });

  it('stay dense inside a fused operator, with the reason', async () => {
    const { report, verdict } = await compressed('attention');
    expect(verdict.factored).not.toContain('packed');
    expect(verdict.factored.length).toBeGreaterThan(0);
    expect(verdict.difference).toBeLessThan(1e-4);
    expect(reasons(report).packed).toContain('the fused operator Attention multiplies by it');
  });

  it.each(['int8', 'int4'])('are refused in %s: the float file can be compressed', async (type) => {
    const out = at(`quantised-${type}.onnx`);
    expect(
      await failure(
        compressCheckpoint(at('models', 'quantised', type, 'model.onnx'), out, { keep: 0.5, uncalibrated: true }),
      ),
    ).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      hint: expect.stringContaining('compress the float file instead'),
    });
    expect(existsSync(out)).toBe(false);
  });

  it.each(['external', 'external-files', 'external-transposed'])('run with external data: %s', async (name) => {
    for (const storage of ['pivoted', 'factors'] as const) {
      const { report, verdict, out } = await compressed(name, { storage, keep: 0.5 });
      expect(verdict.factored.length).toBeGreaterThan(0);
      expect(verdict.biases.length).toBeGreaterThan(0);
      expect(verdict.difference).toBeLessThan(1e-4);
      // The bytes of the weights are gone: all but the names of nodes, orders of rows and padding.
      const { before, after } = report.parameters;
      const saved = (await bytesOf(at('models', name))) - (await bytesOf(out));
      expect(saved).toBeGreaterThan(4 * (before - after) - 4000);
    }
  });
});

describe.skipIf(!python || !hasPeers)(`decoders merged into one file${unlessNoPython}${unlessNoPeers}`, () => {
  const folder = temporaryFolder();
  const at = (...path: string[]) => join(folder, ...path);
  const example = join(root, 'examples', 'noisy-recall', 'model');
  const texts = join(root, 'examples', 'noisy-recall', 'validation.jsonl');

  beforeAll(() => runPython('onnx_merge.py', example, at('merged'), at('plain')), 60_000);

  /** How far the outputs of both branches of a model are from those of another. */
  const differences = async (plain: string, merged: string) =>
    JSON.parse(await runPython('onnx_merge.py', at(plain), at(merged), 'judge')) as number[];

  it('have the moments, the ranks and the outputs of one that is not merged', async () => {
    const prompts = (await readFile(texts, 'utf8'))
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { prompt: string }).prompt);
    await writeFile(at('texts.txt'), prompts.join('\n'));
    const made = new Map<string, CompressReport>();
    for (const name of ['plain', 'merged']) {
      const model = at(name);
      const calibration = at(`${name}.safetensors`);
      const report = await calibrate(model, calibration, { texts: at('texts.txt'), peers, samples: 60 });
      expect(report.unseen).toEqual([]);
      const options = { keep: 0.8, calibration, texts: at('texts.txt'), peers };
      made.set(name, await compressCheckpoint(join(model, 'model.onnx'), at(`${name}.onnx`), options));
    }
    const [first, second] = [await openMoments(at('plain.safetensors')), await openMoments(at('merged.safetensors'))];
    expect([...second.weights].sort()).toEqual([...first.weights].sort());
    for (const weight of first.weights) {
      const [one, other] = [(await first.read(weight))!, (await second.read(weight))!];
      expect(other).toMatchObject({ kind: one.kind, count: one.count });
      expect(distance(one.second, other.second)).toBeLessThan(1e-5 * norm(one.second));
    }
    await Promise.all([first.close(), second.close()]);
    const [before, after] = [made.get('plain')!, made.get('merged')!];
    expect(after.leftOut).toEqual(before.leftOut);
    expect(after.layers.length).toBeGreaterThan(3);
    const ranks = ({ layers }: CompressReport) => layers.map((layer) => [layer.name, rankOf(layer)]);
    expect(ranks(after)).toEqual(ranks(before));
    expect(after.check!.divergence).toBeCloseTo(before.check!.divergence!, 4);
    const branches = await differences('plain.onnx', 'merged.onnx');
    expect(branches).toHaveLength(2);
    for (const difference of branches) expect(difference).toBeLessThan(1e-4);
  }, 240_000);

  it.each(['q8', 'q4'] as const)(
    'are quantised as one that is not merged, with its embeddings: %s',
    async (preset) => {
      for (const name of ['plain', 'merged']) {
        const { leftOut } = await compressCheckpoint(at(name, 'model.onnx'), at(`${name}-${preset}.onnx`), { preset });
        expect(leftOut.filter(({ why }) => why.includes('inside a node'))).toEqual([]);
      }
      for (const difference of await differences(`plain-${preset}.onnx`, `merged-${preset}.onnx`)) {
        expect(difference).toBeLessThan(1e-4);
      }
      for (const difference of await differences(join('plain', 'model.onnx'), `merged-${preset}.onnx`)) {
        expect(difference).toBeGreaterThan(1e-4);
        expect(difference).toBeLessThan(0.3);
      }
    },
    120_000,
  );
});

/** As much of transformers.js as the tests use. */
interface Transformers {
  readonly env: { allowRemoteModels: boolean; localModelPath: string };
  pipeline(
    task: 'feature-extraction',
    model: string,
    options: { readonly dtype: string; readonly device: 'cpu' },
  ): Promise<
    (texts: readonly string[], options: { readonly pooling: 'mean' }) => Promise<{ readonly data: Float32Array }>
  >;
}

describe.skipIf(!python || !hasPeers)(`programs that run compressed models${unlessNoPython}${unlessNoPeers}`, () => {
  const folder = temporaryFolder();
  const at = (...path: string[]) => join(folder, ...path);
  let texts: string[];

  beforeAll(async () => {
    const lines = await readFile(join(root, 'examples', 'noisy-recall', 'validation.jsonl'), 'utf8');
    texts = lines
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { prompt: string }).prompt);
    await writeFile(at('texts.txt'), texts.join('\n'));
    await runPython('onnx_bert.py', at('bert'), at('texts.txt'));
    await calibrate(at('bert'), at('moments'), { texts: at('texts.txt'), peers, samples: 100, length: 64 });
    for (const storage of ['pivoted', 'factors'] as const) {
      const options = { keep: 0.8, calibration: at('moments'), storage };
      const { layers, leftOut } = await compressCheckpoint(at('bert'), at(`bert-${storage}`), options);
      expect(layers).toHaveLength(12);
      expect(layers.filter((layer) => rankOf(layer) !== undefined).length).toBeGreaterThan(3);
      expect(leftOut).toEqual([]);
    }
  }, 240_000);

  it.each(['pivoted', 'factors'])(
    'include onnxruntime-web, with the outputs of onnxruntime-node: %s',
    async (storage) => {
      const file = at(`bert-${storage}`, 'onnx', 'model.onnx');
      const ids = BigInt64Array.from([2n, 40n, 70n, 9n, 100n, 3n]);
      const run = async (name: string) => {
        const runtime = await importPeer<Runtime & { env: { wasm: { numThreads: number } } }>(name, peers);
        if (name === 'onnxruntime-web') runtime.env.wasm.numThreads = 1;
        const session = await runtime.InferenceSession.create(file, {});
        const feed = (data: BigInt64Array) => new runtime.Tensor('int64', data, [1, 6]);
        const feeds = {
          input_ids: feed(ids),
          attention_mask: feed(ids.map(() => 1n)),
          token_type_ids: feed(ids.map(() => 0n)),
        };
        const [output] = Object.values(await session.run(feeds, ['last_hidden_state']));
        await session.release();
        return output!.data as Float32Array;
      };
      const [web, node] = [await run('onnxruntime-web'), await run('onnxruntime-node')];
      expect(node).toHaveLength(6 * 64);
      expect(distance(web, node)).toBeLessThan(1e-4 * norm(node));
    },
  );

  it('include onnxruntime-web with external data', async () => {
    await runPython('onnx_layers.py', at('models'));
    const model = at('models', 'external', 'model.onnx');
    const inputs = at('models', 'external', 'inputs.safetensors');
    await calibrate(model, at('external-moments'), { inputs, peers, samples: 400 });
    await compressCheckpoint(model, at('external'), { keep: 0.5, calibration: at('external-moments') });
    const x = gaussian([5, 32], 3).data;
    const run = async (name: string, options: object) => {
      const runtime = await importPeer<Runtime>(name, peers);
      const session = await runtime.InferenceSession.create(at('external', 'model.onnx'), options);
      const [output] = Object.values(await session.run({ x: new runtime.Tensor('float32', x, [5, 32]) }, ['y']));
      await session.release();
      return output!.data as Float32Array;
    };
    const data = await readFile(at('external', 'model.onnx.data'));
    const web = await run('onnxruntime-web', { externalData: [{ path: 'model.onnx.data', data }] });
    const node = await run('onnxruntime-node', {});
    expect(distance(web, node)).toBeLessThan(1e-5 * norm(node));
  });

  it.each(['q8', 'q4'] as const)('include transformers.js with a dtype: %s', async (dtype) => {
    const { env, pipeline } = await importPeer<Transformers>('@huggingface/transformers', peers);
    env.allowRemoteModels = false;
    env.localModelPath = folder;
    const made = [
      { out: `bert-preset-${dtype}`, options: { preset: dtype } },
      { out: `bert-menu-${dtype}`, options: { bits: 6, calibration: at('moments') } },
    ];
    const embed = async (model: string, kind: string) => {
      const extract = await pipeline('feature-extraction', model, { dtype: kind, device: 'cpu' });
      return (await extract(texts.slice(-8), { pooling: 'mean' })).data;
    };
    const before = await embed('bert', 'fp32');
    for (const { out, options } of made) {
      await compressCheckpoint(at('bert'), at(out), { ...options, dtype });
      const after = await embed(out, dtype);
      expect(distance(before, after)).toBeGreaterThan(0);
      expect(distance(before, after)).toBeLessThan(0.25 * norm(before));
    }
  });

  it.each(['pivoted', 'factors'])('include transformers.js: %s', async (storage) => {
    const { env, pipeline } = await importPeer<Transformers>('@huggingface/transformers', peers);
    env.allowRemoteModels = false;
    env.localModelPath = folder;
    const embed = async (model: string) => {
      const extract = await pipeline('feature-extraction', model, { dtype: 'fp32', device: 'cpu' });
      return (await extract(texts.slice(-8), { pooling: 'mean' })).data;
    };
    const [before, after] = [await embed('bert'), await embed(`bert-${storage}`)];
    expect(before).toHaveLength(8 * 64);
    expect(distance(before, after)).toBeGreaterThan(0);
    expect(distance(before, after)).toBeLessThan(0.25 * norm(before));
  });
});
