import { existsSync } from 'node:fs';
import { copyFile, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { open } from '../../lib/checkpoint/open.js';
import { compressCheckpoint } from '../../lib/compress/compress.js';
import { type ExpandReport, expandCheckpoint } from '../../lib/compress/expand.js';
import { lowrank } from '../support/cli.js';
import { failure } from '../support/failure.js';
import { temporaryFolder } from '../support/folder.js';
import { distance, norm, product } from '../support/matrices.js';
import { counted, graphProto, modelProto, type NodeParts, nodeProto, tensorProto } from '../support/onnx.js';
import { mlp } from '../support/onnx-mlp.js';
import { rankOf } from '../support/ranks.js';
import { fill } from '../support/safetensors.js';

/** Writes a model, and compresses it. */
async function compressed(
  model = mlp(),
  { storage = 'pivoted', keep = 0.6 }: { readonly storage?: 'pivoted' | 'factors'; readonly keep?: number } = {},
) {
  const folder = temporaryFolder();
  const path = (name: string) => join(folder, name);
  await fill(folder, { 'model.onnx': model });
  const { layers } = await compressCheckpoint(path('model.onnx'), path('small.onnx'), {
    keep,
    uncalibrated: true,
    storage,
  });
  return { path, layers, source: path('model.onnx'), small: path('small.onnx'), dense: path('dense.onnx') };
}

/** The product of the factors of a weight, [in, out]. */
async function productOf(file: string, weight: string) {
  const checkpoint = await open(file);
  const read = async (what: string) => (await checkpoint.read(`${weight}.lowrank.${what}`)).slice().buffer;
  const info = (what: string) => checkpoint.tensors.get(`${weight}.lowrank.${what}`)!;
  const [left, right] = [new Float32Array(await read('left')), new Float32Array(await read('right'))];
  const [n, k] = info('left').shape as [number, number];
  const stored = info('right').shape[1]!;
  if (info('order') === undefined) {
    await checkpoint.close();
    return product(left, right, n, k, stored);
  }
  const order = new Int32Array(await read('order'));
  await checkpoint.close();
  const m = order.length;
  const whole = Float32Array.from({ length: k * m }, (_, at) => {
    const [i, column] = [Math.floor(at / m), order[at % m]!];
    return column < k ? Number(column === i) : right[i * stored + column - k]!;
  });
  return product(left, whole, n, k, m);
}

const turned = (data: Float32Array, rows: number, columns: number) =>
  data.map((_, at) => data[(at % rows) * columns + Math.floor(at / rows)]!);

describe('expand, of ONNX', () => {
  const cases = (['pivoted', 'factors'] as const).flatMap((storage) =>
    [false, true].map((shared) => ({ storage, shared, weights: shared ? 'shared weights' : 'weights' })),
  );

  it.each(cases)('writes the original file but for the numbers of $weights: $storage', async ({ storage, shared }) => {
    for (const keep of [0.6, 0.9]) {
      const { source, small, dense, layers } = await compressed(mlp({ shared }), { storage, keep });
      const report = await expandCheckpoint(small, dense);
      const factored = layers.filter((layer) => rankOf(layer) !== undefined);
      expect(factored.length).toBeGreaterThan(0);
      expect(report.layers.map(({ rank }) => rank)).toEqual(factored.map(rankOf));

      const [before, after] = [await open(source), await open(dense)];
      expect([...after.tensors.values()]).toEqual(
        [...before.tensors.values()].map((info) => ({ ...info, file: 'dense.onnx' })),
      );
      const [old, bytes] = [await readFile(source), await readFile(dense)];
      for (const { name } of report.layers) {
        const { offset, bytes: length, shape, orientation } = before.tensors.get(name)!;
        const found = new Float32Array(new Uint8Array(bytes.subarray(offset, offset + length)).buffer);
        const expected = await productOf(small, name);
        const [rows, columns] = shape as [number, number];
        const lying = orientation === 'in x out' ? found : turned(found, rows, columns);
        expect(distance(lying, expected), name).toBeLessThan(1e-6 * norm(expected));
        for (const file of [old, bytes]) file.fill(0, offset, offset + length);
      }
      expect(bytes.equals(old)).toBe(true);
      await Promise.all([before.close(), after.close()]);
    }
  });

  it('refuses models that are not compressed, and compresses none twice', async () => {
    const { path, source, small, dense } = await compressed();
    expect(await failure(expandCheckpoint(source, dense))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('factors'),
      hint: expect.stringContaining('lowrank compress'),
    });
    const again = compressCheckpoint(small, path('again.onnx'), { keep: 0.5, uncalibrated: true });
    expect(await failure(again)).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      hint: expect.stringContaining('lowrank expand'),
    });
  });

  /** A model that multiplies by factors of `w`, with other nodes. */
  const by = (...nodes: readonly NodeParts[]) =>
    modelProto(
      graphProto(
        nodes.map(nodeProto),
        [counted('w.lowrank.left', 4, 2), counted('w.lowrank.right', 2, 5)],
        [{ name: 'x', type: 1, dims: ['batch', 4] }],
        [{ name: 'y', type: 1, dims: ['batch', 5] }],
      ),
    );
  const inner: NodeParts = { op: 'MatMul', inputs: ['x', 'w.lowrank.left'], outputs: ['i'] };
  const outer: NodeParts = { op: 'MatMul', inputs: ['i', 'w.lowrank.right'] };

  it('reads factors however their nodes and values are called', async () => {
    const folder = temporaryFolder();
    await fill(folder, { 'a.onnx': by(inner, outer) });
    const { layers } = await expandCheckpoint(join(folder, 'a.onnx'), join(folder, 'b.onnx'));
    expect(layers).toEqual([{ name: 'w', shape: [4, 5], dtype: 'F32', rank: 2 }]);
    const result = await open(join(folder, 'b.onnx'));
    expect(result.graph!.inputsOf('w')).toEqual(['x']);
    expect(new Float32Array((await result.read('w')).slice().buffer).subarray(0, 5)).toEqual(
      Float32Array.of(5, 6, 7, 8, 9),
    );
    await result.close();
  });

  it.each<[string, readonly NodeParts[]]>([
    ['something else uses a factor', [inner, outer, { op: 'Relu', inputs: ['w.lowrank.left'], outputs: ['z'] }]],
    ['something else sees what lies between', [inner, outer, { op: 'Relu', inputs: ['i'], outputs: ['z'] }]],
    [
      'a node stands between the products',
      [inner, { op: 'Relu', inputs: ['i'], outputs: ['r'] }, { ...outer, inputs: ['r', 'w.lowrank.right'] }],
    ],
    ['nothing multiplies by them', [{ op: 'Relu', inputs: ['x'] }]],
    ['an operator of another domain does', [inner, { ...outer, domain: 'com.example' }]],
  ])('refuses by name factors where %s', async (_, nodes) => {
    const folder = temporaryFolder();
    await fill(folder, { 'a.onnx': by(...nodes) });
    const dense = join(folder, 'b.onnx');
    expect(await failure(expandCheckpoint(join(folder, 'a.onnx'), dense))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringMatching(/^w: cannot be multiplied out/),
    });
    expect(existsSync(dense)).toBe(false);
  });

  it('refuses factors that do not fit together', async () => {
    const folder = temporaryFolder();
    const model = (right: Uint8Array) =>
      modelProto(graphProto([inner, outer].map(nodeProto), [counted('w.lowrank.left', 4, 2), right]));
    await fill(folder, {
      'missing.onnx': model(counted('v', 2, 5)),
      'ranks.onnx': model(counted('w.lowrank.right', 3, 5)),
      'type.onnx': model(tensorProto({ name: 'w.lowrank.right', dims: [2, 5], type: 6, raw: new Uint8Array(40) })),
    });
    for (const name of ['missing', 'ranks', 'type']) {
      const attempt = expandCheckpoint(join(folder, `${name}.onnx`), join(folder, 'out.onnx'));
      expect(await failure(attempt), name).toMatchObject({ code: 'ERR_CHECKPOINT_FORMAT', kind: 'InvalidFactors' });
    }
  });

  it('refuses external data from which another graph of the folder reads', async () => {
    const folder = temporaryFolder();
    const external = (name: string, dims: readonly number[], offset: number, bytes: number) =>
      tensorProto({ name, dims, external: { location: 'data', offset: String(offset), length: String(bytes) } });
    const tensors = [external('w.lowrank.left', [4, 2], 0, 32), external('w.lowrank.right', [2, 5], 32, 40)];
    const model = modelProto(graphProto([inner, outer].map(nodeProto), tensors));
    await fill(folder, { 'model.onnx': model, data: new Uint8Array(72) });
    await copyFile(join(folder, 'model.onnx'), join(folder, 'other.onnx'));
    expect(await failure(expandCheckpoint(join(folder, 'model.onnx'), join(folder, '..', 'dense')))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('other.onnx'),
    });
  });

  it('is a command, for a file as for a folder', async () => {
    const { small, dense, path } = await compressed();
    const table = await lowrank(['expand', small, '-o', dense]);
    expect(table).toMatchObject({ code: 0, stdout: expect.stringContaining('weights multiplied out') });
    expect((await stat(dense)).size).toBeGreaterThan((await stat(small)).size);
    const { stdout } = await lowrank(['expand', small, '-o', path('json.onnx'), '--json']);
    expect(JSON.parse(stdout) as ExpandReport).toMatchObject({ source: small, out: path('json.onnx') });
  });
});
