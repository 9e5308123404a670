import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TensorChange } from '../../../lib/checkpoint/checkpoint.js';
import { withCopy } from '../../../lib/checkpoint/copy/with-copy.js';
import { open } from '../../../lib/checkpoint/open.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { field, graphProto, modelProto, nodeProto, tensorProto } from '../../support/onnx.js';
import { fill } from '../../support/safetensors.js';

/** A tensor in a file of external data: its name, its sizes, and its place. */
interface Placed {
  readonly name: string;
  readonly dims: readonly number[];
  readonly at?: number;
  readonly file?: string;
  /** Without one it continues to the end of the file. */
  readonly length?: boolean;
}

const bytesOf = ({ dims }: Placed) => 4 * dims.reduce((product, size) => product * size, 1);
const proto = (tensor: Placed) =>
  tensorProto({
    name: tensor.name,
    dims: tensor.dims,
    external: {
      location: tensor.file ?? 'model.onnx.data',
      ...(tensor.at !== undefined && { offset: String(tensor.at) }),
      ...(tensor.length !== false && { length: String(bytesOf(tensor)) }),
    },
  });

/** Bytes in which no two stretches are alike. */
const data = (length: number) => new Uint8Array(Buffer.from(Array.from({ length }, (_, i) => (i * 2654435761) >>> 24)));

/**
 * A model that multiplies by its matrices one after the other, and adds a vector inside a function.
 */
function modelOf(tensors: readonly Placed[], inFunction?: Placed): Uint8Array {
  const matrices = tensors.filter(({ dims }) => dims.length === 2);
  const nodes = matrices.map(({ name }, i) =>
    nodeProto({ op: 'MatMul', inputs: [`x${i}`, name], outputs: [`x${i + 1}`] }),
  );
  const inner = nodeProto({ op: 'Identity', inputs: ['x0'], graphs: [graphProto([], tensors.slice(3).map(proto))] });
  const graph = graphProto([...nodes, ...(tensors.length > 3 ? [inner] : [])], tensors.slice(0, 3).map(proto));
  const constant = inFunction && nodeProto({ op: 'Constant', inputs: [], value: proto(inFunction) });
  const ending = constant ? field(25, Buffer.concat([field(1, 'f'), field(7, constant)])) : new Uint8Array();
  return Buffer.concat([modelProto(graph), ending]);
}

const by = (inputs: number, rank: number, outputs: number) => ({
  by: [
    { name: 'left', dtype: 'F32', shape: [inputs, rank] },
    { name: 'right', dtype: 'F32', shape: [rank, outputs] },
  ] as const,
});

/** Replaces tensors by others of sevens, and returns the folders before and after. */
async function replaced(files: Readonly<Record<string, Uint8Array>>, changes: Readonly<Record<string, TensorChange>>) {
  const folder = temporaryFolder();
  const [before, after] = [join(folder, 'before'), join(folder, 'after')];
  await mkdir(before);
  await fill(before, files);
  const source = await open(join(before, 'model.onnx'));
  try {
    await withCopy(source, after, { changes: new Map(Object.entries(changes)) }, async (copy) => {
      for (const [name, change] of Object.entries(changes)) {
        const sizes = 'by' in change ? change.by : [{ name, shape: source.tensors.get(name)!.shape }];
        for (const { name: own, shape } of sizes) {
          await copy.write(own, new Uint8Array(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(7).buffer));
        }
      }
    });
  } finally {
    await source.close();
  }
  return { before, after };
}

/** The numbers of all tensors of a model, those that can be read. */
async function numbersOf(folder: string): Promise<Map<string, Uint8Array>> {
  const checkpoint = await open(join(folder, 'model.onnx'));
  const numbers = new Map<string, Uint8Array>();
  for (const name of checkpoint.tensors.keys()) numbers.set(name, await checkpoint.read(name));
  await checkpoint.close();
  return numbers;
}

const tensors: readonly Placed[] = [
  { name: 'first', dims: [8, 8], at: 0 },
  { name: 'w', dims: [64, 32], at: 256 },
  { name: 'after', dims: [32, 8], at: 8448 },
  { name: 'inner', dims: [5, 3], at: 9472 },
];
const inFunction: Placed = { name: 'last', dims: [6, 2], at: 9532, length: false };
const files = { 'model.onnx': modelOf(tensors, inFunction), 'model.onnx.data': data(9580) };

describe('a weight in a file of external data, replaced by factors', () => {
  it('is gone from that file, which has the factors; tensors that have moved are found', async () => {
    const { before, after } = await replaced(files, { w: by(64, 4, 32) });
    const [old, now] = [await numbersOf(before), await numbersOf(after)];
    for (const name of ['first', 'after', 'inner']) expect(now.get(name), name).toEqual(old.get(name));
    expect(now.get('left')).toEqual(new Uint8Array(new Float32Array(256).fill(7).buffer));
    expect(now.has('w')).toBe(false);
    const result = await readFile(join(after, 'model.onnx.data'));
    // 8192 bytes less, 1536 more, and less than a line of padding for each tensor.
    expect(result.length).toBeLessThan(9580 - 8192 + 1536 + 5 * 64);
    // Of the tensor in a function, which is not listed: it continues to the end.
    expect(result.subarray(-48)).toEqual(Buffer.from(files['model.onnx.data'].subarray(-48)));
    const model = (await readFile(join(after, 'model.onnx'))).toString('latin1');
    expect(model).toContain(`offset\x12\x04${result.length - 48}`);
  });

  it('may be edited beside, in the same file and in the model', async () => {
    const { before, after } = await replaced(files, { w: by(64, 4, 32), after: { as: 'F32' }, inner: { as: 'F32' } });
    const [old, now] = [await numbersOf(before), await numbersOf(after)];
    expect(now.get('first')).toEqual(old.get('first'));
    expect(now.get('after')).toEqual(new Uint8Array(new Float32Array(256).fill(7).buffer));
    expect(now.get('inner')).toEqual(new Uint8Array(new Float32Array(15).fill(7).buffer));
  });

  it('may have a file of its own', async () => {
    const own = [
      { name: 'w', dims: [64, 32], file: 'w.bin', length: false },
      { name: 'v', dims: [32, 8], file: 'v.bin', length: false },
    ];
    const separate = { 'model.onnx': modelOf(own), 'w.bin': data(8192), 'v.bin': data(1024) };
    const { after } = await replaced(separate, { w: by(64, 4, 32) });
    expect((await readFile(join(after, 'w.bin'))).length).toBe(1536);
    expect(new Uint8Array(await readFile(join(after, 'v.bin')))).toEqual(separate['v.bin']);
  });

  it('may become larger: what follows moves down', async () => {
    const { before, after } = await replaced(files, { w: by(64, 40, 32) });
    const [old, now] = [await numbersOf(before), await numbersOf(after)];
    for (const name of ['first', 'after', 'inner']) expect(now.get(name), name).toEqual(old.get(name));
    expect(now.get('right')!.length).toBe(4 * 40 * 32);
  });

  it('keeps the alignment of large tensors', async () => {
    const aligned: readonly Placed[] = [
      { name: 'w', dims: [64, 32], at: 0 },
      { name: 'v', dims: [32, 64], at: 8192 },
    ];
    const { after } = await replaced(
      { 'model.onnx': modelOf(aligned), 'model.onnx.data': data(16384) },
      { w: by(64, 4, 32) },
    );
    const checkpoint = await open(join(after, 'model.onnx'));
    expect(checkpoint.tensors.get('v')!.offset).toBe(8192);
    await checkpoint.close();
  });

  it('is refused in a file of another format, whose header would be wrong', async () => {
    const inFile = { 'model.onnx': modelOf([{ name: 'w', dims: [64, 32], at: 64, file: 'model.safetensors' }]) };
    const error = await failure(replaced({ ...inFile, 'model.safetensors': data(8256) }, { w: by(64, 4, 32) }));
    expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED', message: expect.stringContaining('model.safetensors') });
  });

  it('is refused where it shares bytes with another tensor, by name', async () => {
    for (const other of [
      { name: 'v', dims: [64, 32], at: 0 },
      { name: 'v', dims: [4], at: 8000 },
    ]) {
      const shared = { 'model.onnx': modelOf([{ name: 'w', dims: [64, 32], at: 0 }, other]) };
      const error = await failure(replaced({ ...shared, 'model.onnx.data': data(8192) }, { w: by(64, 4, 32) }));
      expect(error).toMatchObject({ code: 'ERR_UNSUPPORTED', message: expect.stringMatching(/^w: .*with v$/) });
    }
  });
});
