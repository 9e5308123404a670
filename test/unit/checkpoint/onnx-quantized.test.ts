import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { NewTensorInfo, QuantizedForm, TensorChange } from '../../../lib/checkpoint/checkpoint.js';
import { withCopy } from '../../../lib/checkpoint/copy/with-copy.js';
import { open } from '../../../lib/checkpoint/open.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { counted, graphProto, modelProto, nodeProto } from '../../support/onnx.js';
import { embeddingModel, mlp } from '../../support/onnx-mlp.js';
import { fill } from '../../support/safetensors.js';

const BYTES = { U8: 1, I8: 1, F16: 2, F32: 4 } as Readonly<Record<string, number>>;

/** A weight of 4 bits in blocks of 16, with a correction of some rank. */
function blocks(name: string, inputs: number, outputs: number, rank = 0) {
  const count = Math.ceil(inputs / 16);
  const names = { codes: `${name}.codes`, scales: `${name}.scales` };
  const correction = { left: `${name}.left`, right: `${name}.right`, scales: `${name}.components`, rank };
  const form: QuantizedForm = {
    ...{ kind: 'blocks', inputs, outputs, ...names, bits: 4, block: 16, halfScales: true },
    ...(rank > 0 && { correction }),
  };
  const by: NewTensorInfo[] = [
    { name: names.codes, dtype: 'U8', shape: [outputs, count, 8] },
    { name: names.scales, dtype: 'F16', shape: [outputs * count] },
  ];
  if (rank > 0) {
    by.push(
      { name: correction.left, dtype: 'I8', shape: [inputs, rank] },
      { name: correction.right, dtype: 'I8', shape: [rank, outputs] },
      { name: correction.scales, dtype: 'F32', shape: [rank] },
    );
  }
  return { by, form };
}

function channels(name: string, inputs: number, outputs: number) {
  const names = { codes: `${name}.codes`, scales: `${name}.scales` };
  const form: QuantizedForm = { kind: 'channels', inputs, outputs, ...names, bits: 8, block: inputs };
  const by: NewTensorInfo[] = [
    { name: names.codes, dtype: 'I8', shape: [inputs, outputs] },
    { name: names.scales, dtype: 'F32', shape: [outputs] },
  ];
  return { by, form };
}

/** Replaces weights of a model by tensors of zeros. */
async function replaced(model: Uint8Array, changes: Readonly<Record<string, TensorChange>>) {
  const folder = temporaryFolder();
  await fill(folder, { 'a.onnx': model });
  const source = await open(join(folder, 'a.onnx'));
  const out = join(folder, 'b.onnx');
  try {
    await withCopy(source, out, { changes: new Map(Object.entries(changes)) }, async (copy) => {
      for (const change of Object.values(changes)) {
        if (!('by' in change)) continue;
        for (const { name, shape, dtype } of change.by) {
          await copy.write(name, new Uint8Array(shape.reduce((product, size) => product * size, BYTES[dtype]!)));
        }
      }
    });
  } finally {
    await source.close();
  }
  return readFile(out);
}

const countOf = (bytes: Uint8Array, text: string) => Buffer.from(bytes).toString('latin1').split(text).length - 1;
const positionOf = (bytes: Uint8Array, text: string) => Buffer.from(bytes).toString('latin1').indexOf(text);
const lastOf = (bytes: Uint8Array, text: string) => Buffer.from(bytes).toString('latin1').lastIndexOf(text);

describe('a weight of an ONNX model replaced by codes and scales', () => {
  it('is multiplied by MatMulNBits, under the name of the node, and the model says so', async () => {
    const bytes = await replaced(mlp(), { 'onnx::MatMul_1': blocks('w', 32, 48) });
    expect(countOf(bytes, 'MatMulNBits')).toBe(1);
    expect(countOf(bytes, '/m/0/MatMul')).toBe(1);
    expect(countOf(bytes, 'onnx::MatMul_1')).toBe(0);
    // The node, and the operators that the model imports.
    expect(countOf(bytes, 'com.microsoft')).toBe(2);
    const again = await replaced(bytes, { 'onnx::MatMul_2': blocks('v', 48, 48) });
    expect(countOf(again, 'com.microsoft')).toBe(3);
  });

  it('leaves all other bytes as they were', async () => {
    const before = mlp();
    const bytes = await replaced(before, { 'onnx::MatMul_1': blocks('w', 32, 48, 4) });
    const from = lastOf(before, 'm.0.bias');
    const to = lastOf(before, 'm.5.bias') + 40 * 4;
    expect(bytes.includes(before.subarray(from, to))).toBe(true);
  });

  it('is summed with its correction before what is added to the product', async () => {
    const bytes = await replaced(mlp(), { 'm.5.weight': blocks('w', 48, 40, 4) });
    expect(countOf(bytes, '/m/5/Gemm.corrected')).toBe(1);
    expect(countOf(bytes, '/m/5/Gemm.added')).toBe(1);
    expect(countOf(bytes, 'm.5.bias')).toBe(countOf(mlp(), 'm.5.bias'));
  });

  it('as int8: inputs are rounded once for all layers that share them, where the first is', async () => {
    const model = modelProto(
      graphProto(
        [
          nodeProto({ op: 'MatMul', name: '/b/MatMul', inputs: ['x', 'b'], outputs: ['y'] }),
          nodeProto({ op: 'MatMul', name: '/a/MatMul', inputs: ['x', 'a'], outputs: ['z'] }),
        ],
        [counted('a', 32, 16), counted('b', 32, 16)],
      ),
    );
    const bytes = await replaced(model, { a: channels('a8', 32, 16), b: channels('b8', 32, 16) });
    expect(countOf(bytes, 'DynamicQuantizeLinear')).toBe(1);
    expect(countOf(bytes, 'MatMulInteger')).toBe(2);
    expect(positionOf(bytes, 'DynamicQuantizeLinear')).toBeLessThan(positionOf(bytes, '/b/MatMul'));
    // They are ONNX's own.
    expect(countOf(bytes, 'com.microsoft')).toBe(0);
  });

  it('as int8: what smooths inputs belongs to one of the layers, and is applied once', async () => {
    const model = modelProto(
      graphProto(
        [
          nodeProto({ op: 'MatMul', name: '/a/MatMul', inputs: ['x', 'a'], outputs: ['y'] }),
          nodeProto({ op: 'MatMul', name: '/b/MatMul', inputs: ['x', 'b'], outputs: ['z'] }),
        ],
        [counted('a', 32, 16), counted('b', 32, 16)],
      ),
    );
    const [a, b] = [channels('a8', 32, 16), channels('b8', 32, 16)];
    const smooth = (form: QuantizedForm): QuantizedForm => ({ ...form, smoothing: 's' });
    const owner = { by: [...a.by, { name: 's', dtype: 'F32', shape: [32] } as const], form: smooth(a.form) };
    const bytes = await replaced(model, { a: owner, b: { by: b.by, form: smooth(b.form) } });
    expect(countOf(bytes, 'x.smoothed')).toBe(3);
    expect(countOf(bytes, 'DynamicQuantizeLinear')).toBe(1);
    expect(await failure(replaced(model, { b: { by: b.by, form: smooth(b.form) } }))).toMatchObject({
      code: 'ERR_ARGUMENT',
    });
  });

  it('may be rows that are looked up', async () => {
    const form: QuantizedForm = {
      ...{ kind: 'rows', inputs: 64, outputs: 100, codes: 'c', scales: 's', bits: 4, block: 32, halfScales: true },
    };
    const by: NewTensorInfo[] = [
      { name: 'c', dtype: 'U8', shape: [100, 32] },
      { name: 's', dtype: 'F16', shape: [100, 2] },
    ];
    const bytes = await replaced(embeddingModel(), { words: { by, form } });
    expect(countOf(bytes, 'GatherBlockQuantized')).toBe(1);
    expect(countOf(bytes, '/words/Gather')).toBe(1);
  });

  it('is refused where something else uses it, and where a node scales the product', async () => {
    const uses = (...nodes: Parameters<typeof nodeProto>[0][]) =>
      modelProto(graphProto(nodes.map(nodeProto), [counted('w', 16, 16)]));
    const change = { w: blocks('q', 16, 16) };
    const gather = uses({ op: 'MatMul', inputs: ['x', 'w'] }, { op: 'Gather', inputs: ['w', 'i'], outputs: ['z'] });
    expect(await failure(replaced(gather, change))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    const both = uses(
      { op: 'Gemm', inputs: ['x', 'w'], outputs: ['y'] },
      { op: 'Gemm', inputs: ['y', 'w'], outputs: ['z'], ints: { transB: 1 } },
    );
    expect(await failure(replaced(both, change))).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    const rows: QuantizedForm = { ...change.w.form, kind: 'rows' };
    expect(await failure(replaced(gather, { w: { by: change.w.by, form: rows } }))).toMatchObject({
      code: 'ERR_UNSUPPORTED',
    });
  });

  it('is refused by tensors that do not make it up', async () => {
    const wrong = [blocks('w', 48, 32), { ...blocks('w', 32, 48), by: blocks('w', 32, 48).by.slice(1) }];
    for (const change of wrong) {
      expect(await failure(replaced(mlp(), { 'onnx::MatMul_1': change }))).toMatchObject({ code: 'ERR_SHAPE' });
    }
  });
});
