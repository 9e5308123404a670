import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { NewTensorInfo, TensorChange } from '../../../lib/checkpoint/checkpoint.js';
import { withCopy } from '../../../lib/checkpoint/copy/with-copy.js';
import { open } from '../../../lib/checkpoint/open.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { counted, graphProto, modelProto, nodeProto } from '../../support/onnx.js';
import { mlp } from '../../support/onnx-mlp.js';
import { fill } from '../../support/safetensors.js';

const tensor = (name: string, shape: readonly number[], dtype: NewTensorInfo['dtype'] = 'F32'): NewTensorInfo => ({
  name,
  dtype,
  shape,
});
const factors = (inputs: number, rank: number, outputs: number, prefix = '') => ({
  by: [tensor(`${prefix}left`, [inputs, rank]), tensor(`${prefix}right`, [rank, outputs])],
});
const pivoted = (inputs: number, rank: number, outputs: number) => ({
  by: [tensor('left', [inputs, rank]), tensor('right', [rank, outputs - rank]), tensor('order', [outputs], 'I32')],
});

/** Replaces weights of a model by tensors of ones, and opens the result. */
async function spliced(model: Uint8Array, changes: Readonly<Record<string, TensorChange>>) {
  const folder = temporaryFolder();
  await fill(folder, { 'a.onnx': model });
  const source = await open(join(folder, 'a.onnx'));
  const out = join(folder, 'b.onnx');
  await withCopy(source, out, { changes: new Map(Object.entries(changes)) }, async (copy) => {
    for (const change of Object.values(changes)) {
      if (!('by' in change)) continue;
      for (const { name, shape, dtype } of change.by) {
        const count = shape.reduce((product, size) => product * size, 1);
        const numbers =
          dtype === 'I32' ? Int32Array.from({ length: count }, (_, i) => i) : new Float32Array(count).fill(1);
        await copy.write(name, new Uint8Array(numbers.buffer));
      }
    }
  });
  await source.close();
  return { checkpoint: await open(out), bytes: await readFile(out) };
}

/**
 * The nodes of a model as text, by their names: a copy of what `onnx` prints would do no better.
 */
function countOf(bytes: Uint8Array, text: string): number {
  return Buffer.from(bytes).toString('latin1').split(text).length - 1;
}

describe('a weight of an ONNX model replaced by factors', () => {
  it('is gone, and two nodes multiply by its factors', async () => {
    const { checkpoint, bytes } = await spliced(mlp(), { 'onnx::MatMul_1': factors(32, 4, 48) });
    expect([...checkpoint.tensors.keys()]).toEqual([
      'left',
      'right',
      'm.0.bias',
      'onnx::MatMul_2',
      'm.5.weight',
      'm.5.bias',
    ]);
    expect(checkpoint.tensors.get('left')).toMatchObject({ shape: [32, 4], dtype: 'F32', orientation: 'in x out' });
    expect(checkpoint.tensors.get('right')).toMatchObject({ shape: [4, 48] });
    expect(new Float32Array((await checkpoint.read('right')).slice().buffer)).toEqual(new Float32Array(4 * 48).fill(1));
    expect(countOf(bytes, '/m/0/MatMul.inner')).toBe(1);
    expect(countOf(bytes, 'onnx::MatMul_1')).toBe(0);
    // 32 x 48 numbers less, 4 (32 + 48) more, and a node.
    expect(bytes.length).toBeLessThan(mlp().length - 4 * (32 * 48 - 4 * 80) + 200);
    await checkpoint.close();
  });

  it('leaves every other tensor as it was', async () => {
    const folder = temporaryFolder();
    await fill(folder, { 'a.onnx': mlp() });
    const before = await open(join(folder, 'a.onnx'));
    const { checkpoint } = await spliced(mlp(), {
      'onnx::MatMul_2': pivoted(48, 8, 48),
      'm.5.weight': factors(48, 3, 40, 'gemm.'),
    });
    for (const name of ['onnx::MatMul_1', 'm.0.bias', 'm.5.bias']) {
      expect(await checkpoint.read(name)).toEqual(await before.read(name));
    }
    await Promise.all([checkpoint.close(), before.close()]);
  });

  it('may be handed on by nodes, transposed or not, which are gone then', async () => {
    const model = modelProto(
      graphProto(
        [
          nodeProto({ op: 'Identity', name: 'same', inputs: ['w'], outputs: ['v'] }),
          nodeProto({ op: 'Transpose', name: 'turn', inputs: ['v'], outputs: ['t'], ints: { perm: [1, 0] } }),
          nodeProto({ op: 'MatMul', name: 'multiply', inputs: ['x', 't'] }),
        ],
        [counted('w', 12, 16)],
      ),
    );
    const { checkpoint, bytes } = await spliced(model, { w: factors(16, 2, 12) });
    expect(checkpoint.tensors.get('left')).toMatchObject({ shape: [16, 2], orientation: 'in x out' });
    expect([countOf(bytes, 'same'), countOf(bytes, 'turn'), countOf(bytes, 'multiply')]).toEqual([0, 0, 2]);
    await checkpoint.close();
    expect(await failure(spliced(model, { w: factors(12, 2, 16) }))).toMatchObject({ code: 'ERR_SHAPE' });
  });

  it.each([
    [3, 'are inputs'],
    [8, 'are none'],
  ])('is no input any more; factors, in version %i of the format, %s', async (irVersion, are) => {
    const graph = graphProto(
      [nodeProto({ op: 'MatMul', inputs: ['x', 'w'] })],
      [counted('w', 16, 16)],
      [
        { name: 'x', type: 1, dims: ['batch', 16] },
        { name: 'w', type: 1, dims: [16, 16] },
      ],
    );
    const { checkpoint, bytes } = await spliced(modelProto(graph, { irVersion }), { w: factors(16, 4, 16) });
    // The name of the tensor, the input of the node, and that of the graph.
    for (const name of ['left', 'right']) expect(countOf(bytes, name)).toBe(are === 'are none' ? 2 : 3);
    await checkpoint.close();
  });

  it('is refused pivoted, where the operators for that do not exist yet', async () => {
    const graph = graphProto([nodeProto({ op: 'MatMul', inputs: ['x', 'w'] })], [counted('w', 16, 16)]);
    const old = modelProto(graph, { opset: 8 });
    expect(await failure(spliced(old, { w: pivoted(16, 4, 16) }))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      hint: expect.stringContaining('factors'),
    });
    await (await spliced(old, { w: factors(16, 4, 16) })).checkpoint.close();
  });

  it('is refused where something else uses it, or it is no weight of the graph', async () => {
    const uses = (...nodes: Parameters<typeof nodeProto>[0][]) =>
      modelProto(graphProto(nodes.map(nodeProto), [counted('w', 16, 16)]));
    const change = { w: factors(16, 2, 16) };
    const gather = uses({ op: 'MatMul', inputs: ['x', 'w'] }, { op: 'Gather', inputs: ['w', 'i'], outputs: ['z'] });
    expect(await failure(spliced(gather, change))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    const left = uses({ op: 'MatMul', inputs: ['w', 'x'] });
    expect(await failure(spliced(left, change))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    const both = uses(
      { op: 'Gemm', inputs: ['x', 'w'], outputs: ['y'] },
      { op: 'Gemm', inputs: ['y', 'w'], outputs: ['z'], ints: { transB: 1 } },
    );
    expect(await failure(spliced(both, change))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
  });

  it('is refused by tensors that do not make it up, and by names that are taken', async () => {
    expect(await failure(spliced(mlp(), { 'onnx::MatMul_1': factors(48, 4, 32) }))).toMatchObject({
      code: 'ERR_SHAPE',
    });
    expect(await failure(spliced(mlp(), { 'onnx::MatMul_1': { by: [tensor('left', [32, 48])] } }))).toMatchObject({
      code: 'ERR_SHAPE',
    });
    const taken = { by: [tensor('h1', [32, 4]), tensor('right', [4, 48])] };
    expect(await failure(spliced(mlp(), { 'onnx::MatMul_1': taken }))).toMatchObject({ code: 'ERR_ARGUMENT' });
  });
});
