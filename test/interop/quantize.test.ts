import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type NewTensor, SafetensorsFile, writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import { calibrate } from '../../lib/compress/calibrate.js';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import type { Runtime } from '../../lib/evaluate/engines/onnx-feeds.js';
import { importPeer } from '../../lib/evaluate/engines/peers.js';
import type { BlockFormat } from '../../lib/quantize/block-format.js';
import { type QuantizedBlocks, quantizeBlocks, type Rounding } from '../../lib/quantize/quantize-matrix.js';
import { temporaryFolder } from '../support/folder.js';
import { distance, gaussian, norm } from '../support/matrices.js';
import { embeddingModel, mlp } from '../support/onnx-mlp.js';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';
import { fill } from '../support/safetensors.js';
import { python, runPython, unlessNoPython } from './python.js';

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);
const floats = (data: Float32Array, ...shape: number[]): NewTensor => ({ dtype: 'F32', shape, bytes: bytesOf(data) });
const bytes = (data: Uint8Array): NewTensor => ({ dtype: 'U8', shape: [data.length], bytes: data });

/** What ONNX Runtime makes of W, and of x times our codes. */
async function reference(w: Float32Array, [m, n]: readonly [number, number], own: QuantizedBlocks) {
  const folder = temporaryFolder();
  const [source, target] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
  const { format, codes, scales, zeros } = own;
  const x = gaussian([5, n], 8).data;
  const given = new Map([
    ['w', floats(w, m, n)],
    ['x', floats(x, 5, n)],
    ['codes', bytes(codes)],
    ['scales', floats(scales, scales.length)],
    ...(zeros === undefined ? [] : [['zeros', bytes(zeros)] as const]),
  ]);
  await writeSafetensors(source, given);
  const { bits, block, symmetric } = format;
  await runPython('quantize_reference.py', source, `${bits}`, `${block}`, symmetric ? '1' : '0', target);
  const file = await SafetensorsFile.open(target);
  try {
    const found = new Map<string, Uint8Array>();
    for (const span of file.header.tensors) found.set(span.name, (await file.read(span)).slice());
    return { found, x };
  } finally {
    await file.close();
  }
}

const FORMATS = ([2, 4, 8] as const).flatMap((bits) =>
  ([16, 32, 128] as const).flatMap((block) =>
    [true, false].map((symmetric): BlockFormat => ({ bits, block, symmetric, scales: 'F32' })),
  ),
);

describe.skipIf(!python)(`weights of a few bits${unlessNoPython}`, () => {
  it.each(FORMATS)('have the codes of MatMulNBits, which multiplies by them: %o', async (format) => {
    // The last block is not full, and there is an odd number of blocks for some sizes.
    const [m, n] = [24, 136] as const;
    const w = gaussian([m, n], 3).data;
    w.fill(0, 0, 16);
    const own = await quantizeBlocks({ data: w, shape: [m, n] }, format, { rounding: 'spanning' });
    const { found, x } = await reference(w, [m, n], own);
    expect(own.codes).toEqual(found.get('codes'));
    expect(bytesOf(own.scales)).toEqual(found.get('scales'));
    if (own.zeros !== undefined) expect(own.zeros).toEqual(found.get('zeros'));
    expectProduct(own, x, found.get('y')!, [m, n]);
  });

  it.each(['nearest', 'compensated'] as Rounding[])('are read as they were meant, rounded as %s', async (rounding) => {
    const [m, n] = [24, 136] as const;
    const w = gaussian([m, n], 4).data;
    const second = new Float64Array(n * n);
    for (let j = 0; j < n; j++) second[j * n + j] = 1 + (j % 3);
    for (const symmetric of [true, false]) {
      const format: BlockFormat = { bits: 4, block: 32, symmetric, scales: 'F16' };
      const moments = { kind: 'inputs', second } as const;
      const own = await quantizeBlocks({ data: w, shape: [m, n] }, format, { rounding, moments });
      const { found, x } = await reference(w, [m, n], own);
      expectProduct(own, x, found.get('y')!, [m, n]);
    }
  });
});

function expectProduct({ dense }: QuantizedBlocks, x: Float32Array, y: Uint8Array, [m, n]: readonly [number, number]) {
  const found = new Float32Array(y.buffer);
  const expected = new Float32Array(found.length);
  for (let row = 0; row < found.length / m; row++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) expected[row * m + i]! += x[row * n + j]! * dense[i * n + j]!;
    }
  }
  expect(distance(found, expected)).toBeLessThan(1e-5 * norm(expected));
}

/** A model with its inputs and their moments. */
async function prepared(model = mlp()) {
  const folder = temporaryFolder();
  await fill(folder, { 'model.onnx': model });
  const x = gaussian([400, 32], 5).data.map((value, i) => value * 0.9 ** (i % 32));
  const inputs = join(folder, 'inputs.safetensors');
  await writeSafetensors(inputs, new Map([['x', floats(x, 400, 32)]]));
  const path = (name: string) => join(folder, name);
  const moments = path('moments.safetensors');
  await calibrate(path('model.onnx'), moments, { inputs, peers, samples: 400, allInputs: true });
  return { path, source: path('model.onnx'), inputs, moments };
}

/** A model that looks up rows, with some. */
async function preparedRows(columns: number) {
  const folder = temporaryFolder();
  const path = (name: string) => join(folder, name);
  const [source, inputs] = [path('embedding.onnx'), path('rows.safetensors')];
  await writeFile(source, embeddingModel(columns));
  const bytes = new Uint8Array(ROWS.slice().buffer);
  await writeSafetensors(inputs, new Map([['rows', { dtype: 'I64', shape: [20, 4], bytes }]]));
  return { path, source, inputs };
}

const ROWS = BigInt64Array.from({ length: 80 }, (_, i) => BigInt((7 * i) % 100));

interface Verdict {
  readonly error: number;
  readonly operators: Readonly<Record<string, number>>;
  readonly names: readonly string[];
}

describe.skipIf(!python || !hasPeers)(`quantised models${unlessNoPython}${unlessNoPeers}`, () => {
  const cases = [
    { options: { bits: 9 }, most: 0.01 },
    { options: { bits: 6 }, most: 0.05 },
    { options: { bits: 4.5 }, most: 0.15 },
    { options: { bits: 6, corrections: false }, most: 0.06 },
    { options: { preset: 'q8' }, most: 0.03 },
    { options: { preset: 'q4' }, most: 0.2 },
  ] as const;

  it.each(cases)('are valid, run in onnxruntime and keep names: %o', async ({ options, most }) => {
    const { path, source, inputs, moments } = await prepared();
    const out = path('out.onnx');
    const given = { ...options, accuracyLevel: 0, calibration: moments, inputs, peers };
    const report = await compressCheckpoint(source, out, given);
    const verdict = JSON.parse(await runPython('quantize_judge.py', source, out, inputs)) as Verdict;
    expect(verdict.error).toBeLessThan(most);
    expect(report.check!.cosine).toBeGreaterThan(1 - most);
    expect(verdict.names).toEqual(expect.arrayContaining(['/m/0/MatMul', '/m/0/Add', '/m/2/MatMul']));
    // All that is made of constants is gone once the model is loaded.
    const left = new Set(Object.keys(verdict.operators));
    const allowed =
      'preset' in options && options.preset === 'q8'
        ? /^(Add|Relu|Gemm|DynamicQuantizeMatMul|MatMulIntegerToFloat|DynamicQuantizeLinear|MatMulInteger|Mul|Cast)$/
        : /^(Add|Relu|MatMulNBits|MatMul|(?:Fused)?Gemm|FusedMatMul)$/;
    expect([...left].filter((op) => !allowed.test(op))).toEqual([]);
    if ('bits' in options) expect(report.bits.after).toBeLessThanOrEqual(options.bits);
  });

  it('have the size that the report states, and none above the budget', async () => {
    const { path, source, moments } = await prepared();
    const whole = (await stat(source)).size;
    for (const share of [0.35, 0.5, 0.8]) {
      const out = path(`${share}.onnx`);
      const size = Math.floor(share * whole);
      const report = await compressCheckpoint(source, out, { size, calibration: moments });
      expect((await stat(out)).size).toBe(report.bytes.after);
      expect(report.bytes.after).toBeLessThanOrEqual(size);
    }
  });

  it.each([
    // One scale serves a row; or the last of its blocks is smaller.
    [8, 64, 64],
    [8, 100, 128],
    [4, 64, 32],
    [4, 100, 32],
  ])('may have embeddings of %i bits, %i columns in blocks of %i', async (bits, columns, block) => {
    const { path, source, inputs } = await preparedRows(columns);
    const out = path('out.onnx');
    const report = await compressCheckpoint(source, out, { preset: bits === 8 ? 'q8' : 'q4' });
    expect(report.layers).toMatchObject([{ name: 'words', use: 'lookup', stored: { format: { bits, block } } }]);
    expect((await stat(out)).size).toBe(report.bytes.after);
    const verdict = JSON.parse(await runPython('quantize_judge.py', source, out, inputs)) as Verdict;
    expect(verdict.operators).toEqual({ GatherBlockQuantized: 1 });
    expect(verdict.error).toBeLessThan(bits === 8 ? 0.01 : 0.12);
    expect(verdict.error).toBeCloseTo(report.layers[0]!.error, 1);
  });
});

describe.skipIf(!hasPeers)(`quantised models in onnxruntime-web${unlessNoPeers}`, () => {
  type Web = Runtime & { readonly env: { readonly wasm: { numThreads: number } } };
  const engines = ['onnxruntime-web', 'onnxruntime-node'] as const;

  async function run(name: (typeof engines)[number], file: string, feed: (runtime: Runtime) => object) {
    const runtime = await importPeer<Web>(name, peers);
    if (name === 'onnxruntime-web') runtime.env.wasm.numThreads = 1;
    const session = await runtime.InferenceSession.create(file, {});
    const [output] = Object.values(await session.run(feed(runtime) as never, ['y']));
    await session.release();
    return output!.data as Float32Array;
  }

  /** The outputs of both engines, and how far apart they are. */
  async function inBoth(file: string, feed: (runtime: Runtime) => object) {
    const [web, native] = [await run(engines[0], file, feed), await run(engines[1], file, feed)];
    return { web, apart: distance(web, native) / norm(native) };
  }

  it('multiply by 4 bits and add their corrections', async () => {
    const { path, source, inputs, moments } = await prepared();
    const out = path('out.onnx');
    const report = await compressCheckpoint(source, out, { bits: 6.6, calibration: moments, inputs, peers });
    const corrected = report.layers.filter(({ stored }) => stored.kind === 'blocks' && stored.rank > 0);
    expect(corrected.map(({ description }) => description)).toContainEqual(expect.stringMatching(/^4 bits.* rank/));
    const x = gaussian([5, 32], 3).data;
    const feed = ({ Tensor }: Runtime) => ({ x: new Tensor('float32', x, [5, 32]) });
    const { web, apart } = await inBoth(out, feed);
    // Both round inputs to 8 bits, each in its own way.
    expect(apart).toBeLessThan(0.02);
    const original = await run('onnxruntime-web', source, feed);
    expect(distance(web, original)).toBeLessThan(0.1 * norm(original));
  });

  it('multiply by int8', async () => {
    const { path, source, moments } = await prepared();
    const out = path('out.onnx');
    await compressCheckpoint(source, out, { preset: 'q8', calibration: moments });
    const x = gaussian([5, 32], 3).data;
    const { apart } = await inBoth(out, ({ Tensor }) => ({ x: new Tensor('float32', x, [5, 32]) }));
    expect(apart).toBeLessThan(0.01);
  });

  it.each(['q8', 'q4'] as const)('look up rows whose last block is smaller: %s', async (preset) => {
    const { path, source } = await preparedRows(100);
    const out = path('out.onnx');
    await compressCheckpoint(source, out, { preset });
    const { apart } = await inBoth(out, ({ Tensor }) => ({ rows: new Tensor('int64', ROWS, [20, 4]) }));
    expect(apart).toBe(0);
  });
});
