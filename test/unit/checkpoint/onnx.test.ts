import { mkdir, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../../lib/checkpoint/checkpoint.js';
import { checkIdentity, identify } from '../../../lib/checkpoint/copy/identity.js';
import { open as openCheckpoint } from '../../../lib/checkpoint/open.js';
import { planEdits } from '../../../lib/edit/plan.js';
import { parseTensorSpec } from '../../../lib/interventions/spec.js';
import { failure, kind } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import {
  counted,
  field,
  floats,
  graphProto,
  modelProto,
  type NodeParts,
  nodeProto,
  tensorProto,
  varint,
} from '../../support/onnx.js';
import { fill } from '../../support/safetensors.js';

const checkpoints: Checkpoint[] = [];
afterEach(() => Promise.all(checkpoints.splice(0).map((checkpoint) => checkpoint.close())));

/** Opens what is closed after the test. */
async function open(path: string): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(path);
  checkpoints.push(checkpoint);
  return checkpoint;
}

/** Opens a model made of nodes and initialisers, in a folder of its own. */
async function opened(nodes: readonly NodeParts[], initializers: readonly Uint8Array[]) {
  const folder = temporaryFolder();
  await fill(folder, { 'a.onnx': modelProto(graphProto(nodes.map(nodeProto), initializers)) });
  return open(join(folder, 'a.onnx'));
}

async function openedTensor(tensor: Uint8Array) {
  const checkpoint = await opened([], [tensor]);
  const info = [...checkpoint.tensors.values()][0]!;
  return { checkpoint, info, bytes: () => checkpoint.read(info.name) };
}

/** What editing a tensor comes to: the edits planned, or the refusal. */
async function edited(checkpoint: Checkpoint, glob: string, shared?: boolean, rho = 0.5) {
  try {
    return planEdits(checkpoint, { interventions: [parseTensorSpec(`${glob}:${rho}`)], shared }).edits;
  } catch (error) {
    return error;
  }
}

const matmul = (name: string, weight: string, ints?: NodeParts['ints'], op = 'MatMul'): NodeParts => ({
  op,
  name,
  inputs: ['x', weight],
  ints,
});

describe('an ONNX file', () => {
  it('is known by its content, and its initialisers by name, shape and place', async () => {
    const folder = temporaryFolder();
    const bytes = modelProto(
      graphProto([], [counted('w', 2, 3), tensorProto({ name: 'n', dims: [], type: 7, raw: Buffer.alloc(8) })]),
    );
    await fill(folder, { 'weights.bin': bytes });
    const checkpoint = await open(join(folder, 'weights.bin'));
    expect(checkpoint).toMatchObject({ format: 'onnx', path: join(folder, 'weights.bin'), config: undefined });
    expect([...checkpoint.tensors.values()]).toEqual([
      {
        name: 'w',
        dtype: 'F32',
        shape: [2, 3],
        bytes: 24,
        file: 'weights.bin',
        offset: bytes.indexOf(floats(0, 1, 2)),
      },
      { name: 'n', dtype: 'I64', shape: [], bytes: 8, file: 'weights.bin', offset: expect.any(Number) },
    ]);
    expect(Buffer.from(await checkpoint.read('w'))).toEqual(floats(0, 1, 2, 3, 4, 5));
    expect((await failure(checkpoint.read('v'))).code).toBe('ERR_NOT_FOUND');
  });

  it('gives float_data and double_data as they lie there', async () => {
    const f32 = await openedTensor(tensorProto({ name: 'w', dims: [2], more: field(4, floats(1, 2)) }));
    expect(Buffer.from(await f32.bytes())).toEqual(floats(1, 2));
    expect(f32.checkpoint.layout(new Map([['w', { as: 'F32' }]]))).toEqual([
      { file: 'a.onnx', parts: undefined, places: new Map([['w', { offset: f32.info.offset, bytes: 8 }]]) },
    ]);
    const doubles = Buffer.from(Float64Array.of(1, 2).buffer);
    const f64 = await openedTensor(tensorProto({ name: 'w', dims: [2], type: 11, more: field(10, doubles) }));
    expect(Buffer.from(await f64.bytes())).toEqual(doubles);
    expect(f64.info.dtype).toBe('F64');
  });

  it.each([
    ['F16', 10, [0x3c00, 0xffff, 0], Buffer.from(Uint16Array.of(0x3c00, 0xffff, 0).buffer)],
    ['I8', 3, [-1, 5, -128], Buffer.from([0xff, 5, 0x80])],
    ['I32', 6, [-2, 1, 2 ** 31 - 1], Buffer.from(Int32Array.of(-2, 1, 2 ** 31 - 1).buffer)],
    ['BOOL', 9, [1, 0, 1], Buffer.from([1, 0, 1])],
    ['I4', 22, [0x21, 0x0f], Buffer.from([0x21, 0x0f])],
  ] as const)('reads %s in int32_data, and refuses to edit it', async (dtype, type, numbers, expected) => {
    const packed = Buffer.concat(numbers.map(varint));
    const { info, checkpoint, bytes } = await openedTensor(
      tensorProto({ name: 'w', dims: [3], type, more: field(5, packed) }),
    );
    expect(info).toMatchObject({ dtype, bytes: expected.length });
    expect(Buffer.from(await bytes())).toEqual(expected);
    const edit = async () => checkpoint.layout(new Map([['w', { as: info.dtype }]]));
    expect(await failure(edit())).toMatchObject({ code: 'ERR_UNSUPPORTED', hint: expect.stringContaining('raw data') });
  });

  it('reads 64 bit numbers to the last bit', async () => {
    const numbers = [-1n, 2n ** 63n - 1n, -(2n ** 63n), 1n];
    const { bytes } = await openedTensor(
      tensorProto({ name: 'w', dims: [4], type: 7, more: field(7, Buffer.concat(numbers.map(varint))) }),
    );
    expect(Buffer.from(await bytes())).toEqual(Buffer.from(BigInt64Array.from(numbers).buffer));
  });

  it('lists texts, and refuses to read them', async () => {
    const texts = Buffer.concat([field(6, 'one'), field(6, 'three')]);
    const { info, bytes } = await openedTensor(tensorProto({ name: 'w', dims: [2], type: 8, more: texts }));
    expect(info).toMatchObject({ dtype: 'STRING', bytes: 8 });
    expect((await failure(bytes())).code).toBe('ERR_UNSUPPORTED');
  });

  it('lists a list in several pieces, and refuses to read it', async () => {
    const single = (value: number) => Buffer.concat([varint(4 * 8 + 5), floats(value)]);
    for (const more of [Buffer.concat([single(1), single(2)]), Buffer.concat([field(4, floats(1)), single(2)])]) {
      const { info, bytes } = await openedTensor(tensorProto({ name: 'w', dims: [2], more }));
      expect(info).toMatchObject({ dtype: 'F32', bytes: 8 });
      expect((await failure(bytes())).message).toContain('in several pieces');
    }
    const one = await openedTensor(tensorProto({ name: 'w', dims: [1], more: single(7) }));
    expect(Buffer.from(await one.bytes())).toEqual(floats(7));
  });

  it('counts the varints of a list when it is read', async () => {
    for (const packed of [Buffer.from([1, 1, 1, 1]), Buffer.from([1, 0x81, 0x81, 1])]) {
      const { bytes } = await openedTensor(tensorProto({ name: 'w', dims: [3], type: 6, more: field(5, packed) }));
      expect(await kind(bytes())).toBe('InvalidDataLength');
    }
  });

  it('skips what it does not know', async () => {
    const unknown = Buffer.concat([field(90, 'text'), field(91, 5), varint(92 * 8 + 1), Buffer.alloc(8)]);
    const graph = Buffer.concat([unknown, graphProto([], [Buffer.concat([counted('w', 1, 1), unknown])]), unknown]);
    const folder = temporaryFolder();
    await fill(folder, { 'a.onnx': Buffer.concat([modelProto(graph), unknown]) });
    expect([...(await open(join(folder, 'a.onnx'))).tensors.keys()]).toEqual(['w']);
  });

  it('takes dimensions in one list too', async () => {
    const { info } = await openedTensor(
      tensorProto({ name: 'w', dims: [], raw: floats(1, 2, 3, 4), more: field(1, Buffer.from([2, 2])) }),
    );
    expect(info.shape).toEqual([2, 2]);
  });

  it('opens tensors without numbers', async () => {
    const { info, bytes } = await openedTensor(tensorProto({ name: 'w', dims: [0, 5] }));
    expect(info).toMatchObject({ shape: [0, 5], bytes: 0 });
    expect(await bytes()).toHaveLength(0);
  });

  it('reads the configuration beside the model, or around its folder onnx', async () => {
    const folder = temporaryFolder();
    const bytes = modelProto(graphProto([], [counted('w', 1, 1)]));
    for (const inner of ['onnx', 'other']) {
      await mkdir(join(folder, inner));
      await fill(join(folder, inner), { 'model.onnx': bytes });
    }
    await fill(folder, { 'config.json': '{"model_type":"gpt2"}' });
    expect((await open(join(folder, 'onnx', 'model.onnx'))).config).toEqual({ model_type: 'gpt2' });
    expect((await open(join(folder, 'other', 'model.onnx'))).config).toBeUndefined();
    await fill(join(folder, 'onnx'), { 'config.json': '{"model_type":"llama"}' });
    expect((await open(join(folder, 'onnx', 'model.onnx'))).config).toEqual({ model_type: 'llama' });
  });
});

describe('a folder with an ONNX model', () => {
  const bytes = modelProto(graphProto([], [counted('w', 1, 1)]));

  it('is the model in it, or in its folder onnx', async () => {
    const folder = temporaryFolder();
    await mkdir(join(folder, 'onnx'));
    await fill(join(folder, 'onnx'), { 'model.onnx': bytes, 'model_q4.onnx': bytes });
    const inner = await open(folder);
    expect(inner).toMatchObject({ format: 'onnx', path: folder, main: join(folder, 'onnx', 'model.onnx') });
    expect(inner.tensors.get('w')).toMatchObject({ file: 'onnx/model.onnx' });
    await fill(folder, { 'decoder.onnx': bytes });
    expect((await open(folder)).tensors.get('w')).toMatchObject({ file: 'decoder.onnx' });
    await fill(folder, { 'encoder.onnx': bytes });
    expect(await kind(open(folder))).toBe('AmbiguousWeights');
    await fill(folder, { 'model.onnx': bytes });
    expect((await open(folder)).tensors.get('w')).toMatchObject({ file: 'model.onnx' });
  });
});

describe('external data', () => {
  const data = floats(0, 1, 2, 3, 4, 5);
  const external = (entries: Record<string, string>, name = 'w', dims: readonly number[] = [2]) =>
    tensorProto({ name, dims, external: entries });

  async function folderWith(...tensors: Uint8Array[]) {
    const folder = temporaryFolder();
    await mkdir(join(folder, 'sub'));
    await fill(folder, {
      'model.onnx': modelProto(graphProto([nodeProto(matmul('/a/MatMul', 'w'))], tensors)),
      'data.bin': data,
      'sub/data.bin': data,
    });
    return folder;
  }
  const openedWith = async (...tensors: Uint8Array[]) => open(join(await folderWith(...tensors), 'model.onnx'));

  it('is found by location, offset and length; the path is then the folder', async () => {
    const folder = await folderWith(external({ location: 'data.bin', offset: '8', length: '8', checksum: 'x' }));
    const checkpoint = await open(join(folder, 'model.onnx'));
    expect(checkpoint.path).toBe(folder);
    expect(checkpoint.tensors.get('w')).toMatchObject({ file: 'data.bin', offset: 8, bytes: 8, shape: [2] });
    expect(Buffer.from(await checkpoint.read('w'))).toEqual(floats(2, 3));
    expect(checkpoint.layout(new Map([['w', { as: 'F32' }]]))).toEqual([
      { file: 'model.onnx', parts: undefined, places: new Map() },
      { file: 'data.bin', parts: undefined, places: new Map([['w', { offset: 8, bytes: 8 }]]) },
    ]);
  });

  it('notices changes of the graph too, though it contains no weight', async () => {
    const folder = await folderWith(external({ location: 'data.bin', length: '8' }));
    const checkpoint = await open(join(folder, 'model.onnx'));
    const before = await identify(checkpoint);
    await checkIdentity(checkpoint, before);
    await utimes(join(folder, 'model.onnx'), 1, 1);
    expect(await kind(checkIdentity(checkpoint, before))).toBe('Changed');
  });

  it('makes the path the folder even if only inner nodes have external data', async () => {
    const folder = temporaryFolder();
    const outside = tensorProto({ name: 'c', dims: [2], external: { location: 'data.bin', length: '8' } });
    const constant = nodeProto({ op: 'Constant', inputs: [], tensors: [outside] });
    const branch = nodeProto({ op: 'If', inputs: ['c'], graphs: [graphProto([], [outside])] });
    const inner = tensorProto({ name: 'c', dims: [2], raw: floats(1, 2) });
    const plain = nodeProto({ op: 'Constant', inputs: [], tensors: [inner] });
    for (const [node, expected] of [
      [constant, folder],
      [branch, folder],
      [plain, join(folder, 'a.onnx')],
    ] as const) {
      await fill(folder, { 'a.onnx': modelProto(graphProto([node], [counted('w', 1, 1)])), 'data.bin': data });
      expect((await open(join(folder, 'a.onnx'))).path).toBe(expected);
    }
  });

  it('may lie in a folder inside, and extend to the end of its file', async () => {
    const checkpoint = await openedWith(external({ location: 'sub/data.bin', offset: '16' }));
    expect(checkpoint.tensors.get('w')).toMatchObject({ file: 'sub/data.bin', offset: 16 });
    expect(Buffer.from(await checkpoint.read('w'))).toEqual(floats(4, 5));
  });

  it('may lie beyond 4 GiB', async () => {
    const offset = 5 * 2 ** 30;
    const folder = await folderWith(external({ location: 'big.bin', offset: String(offset), length: '8' }));
    await writeFile(join(folder, 'big.bin'), '');
    await truncate(join(folder, 'big.bin'), offset + 8);
    const checkpoint = await open(join(folder, 'model.onnx'));
    expect(checkpoint.tensors.get('w')).toMatchObject({ offset });
    expect(Buffer.from(await checkpoint.read('w'))).toEqual(floats(0, 0));
  });

  it.each([
    '../data.bin',
    '/etc/passwd',
    'sub/../data.bin',
    './data.bin',
    'sub//data.bin',
    'data.bin/',
    '',
    '.',
    'sub\\data.bin',
    'C:data.bin',
    'data.bin\0',
    'data\n.bin',
  ])('refuses the location %j', async (location) => {
    expect(await kind(openedWith(external({ location })))).toBe('UnsafeFileName');
  });

  it('refuses a link that leads out of the folder, and follows one that does not', async () => {
    const folder = await folderWith(external({ location: 'link.bin', length: '24' }, 'w', [6]));
    const other = temporaryFolder();
    await fill(other, { 'data.bin': data });
    await symlink(join(other, 'data.bin'), join(folder, 'link.bin'));
    expect(await kind(open(join(folder, 'model.onnx')))).toBe('UnsafeFileName');
    const inner = await folderWith(external({ location: 'link.bin', length: '24' }, 'w', [6]));
    await symlink('data.bin', join(inner, 'link.bin'));
    expect(await (await open(join(inner, 'model.onnx'))).read('w')).toHaveLength(24);
    const around = await folderWith(external({ location: 'linked/data.bin', length: '24' }, 'w', [6]));
    await symlink(other, join(around, 'linked'));
    expect(await kind(open(join(around, 'model.onnx')))).toBe('UnsafeFileName');
  });

  it('refuses the model itself as the place of its data', async () => {
    expect(await kind(openedWith(external({ location: 'model.onnx', length: '8' })))).toBe('UnsafeFileName');
  });

  it('names a file that is missing', async () => {
    const error = await failure(openedWith(external({ location: 'other.bin' })));
    expect(error).toMatchObject({ code: 'ERR_CHECKPOINT_IO', kind: 'MissingShard' });
    expect(await kind(openedWith(external({ location: 'sub' })))).toBe('NotAFile');
  });

  it.each([
    [{ location: 'data.bin', length: '12' }, 'InvalidDataLength'],
    [{ location: 'data.bin' }, 'InvalidDataLength'],
    [{ location: 'data.bin', offset: '20', length: '8' }, 'InvalidDataLength'],
    [{ location: 'data.bin', offset: '9007199254740991', length: '8' }, 'InvalidDataLength'],
    [{ location: 'data.bin', offset: '-8', length: '8' }, 'InvalidExternalData'],
    [{ location: 'data.bin', offset: '9007199254740992', length: '8' }, 'InvalidExternalData'],
    [{ location: 'data.bin', offset: '1e1', length: '8' }, 'InvalidExternalData'],
    [{ location: 'data.bin', offset: '', length: '8' }, 'InvalidExternalData'],
    [{ offset: '0' }, 'InvalidExternalData'],
  ])('refuses %j', async (entries, expected) => {
    expect(await kind(openedWith(external(entries as Record<string, string>)))).toBe(expected);
  });

  it('notices a file that became shorter', async () => {
    const folder = await folderWith(external({ location: 'data.bin', length: '8' }));
    const checkpoint = await open(join(folder, 'model.onnx'));
    await truncate(join(folder, 'data.bin'), 4);
    expect(await kind(checkpoint.read('w'))).toBe('FileShrank');
  });

  it('reads tensors that share bytes, and edits only one that owns its own', async () => {
    const at = (name: string, offset: number) =>
      external({ location: 'data.bin', offset: String(offset), length: '8' }, name);
    const checkpoint = await openedWith(at('w', 0), at('same', 0), at('half', 12), at('over', 16), at('free', 8));
    expect(Buffer.from(await checkpoint.read('over'))).toEqual(floats(4, 5));
    const edit = (...names: string[]) => checkpoint.layout(new Map(names.map((name) => [name, { as: 'F32' }])));
    expect(() => edit('half')).toThrow(/shares bytes of data.bin with "(over|free)"/);
    expect(() => edit('over')).toThrow(/shares bytes of data.bin with "half"/);
    // Nothing uses the other one, so that only one place changes.
    expect(edit('w')).toHaveLength(2);
    expect(() => edit('w', 'same')).toThrow(/shares all bytes of data.bin with "same"/);
  });

  it('refuses shared bytes that two places use', async () => {
    const folder = temporaryFolder();
    const at = (name: string) => external({ location: 'data.bin', length: '24' }, name, [2, 3]);
    const nodes = [matmul('/a/MatMul', 'a'), matmul('/b/MatMul', 'b')].map(nodeProto);
    await fill(folder, { 'model.onnx': modelProto(graphProto(nodes, [at('a'), at('b')])), 'data.bin': data });
    const checkpoint = await open(folder);
    expect(await edited(checkpoint, 'a')).toMatchObject({
      message: expect.stringMatching(/2 places use it.*"a", "b"/),
    });
    expect(await edited(checkpoint, 'a', true)).toMatchObject([{ tensor: 'a', uses: 2 }]);
    expect(await edited(checkpoint, '*', true)).toMatchObject({ hint: expect.stringContaining('both change') });
  });
});

/** A Constant node that gives a matrix. */
const constantNode = (output: string, dims: readonly number[] = [2, 3]): NodeParts => ({
  op: 'Constant',
  inputs: [],
  outputs: [output],
  value: tensorProto({ name: '', dims, raw: floats(...Array(dims.reduce((a, b) => a * b, 1)).fill(1)) }),
});

describe('constants', () => {
  it('of nodes are listed if they are matrices, and read and edited in place', async () => {
    const nodes = [constantNode('w'), constantNode('axes', [3]), matmul('/m/fc/MatMul', 'w')];
    const checkpoint = await opened(nodes, [counted('v', 2, 2)]);
    expect([...checkpoint.tensors.keys()].sort()).toEqual(['v', 'w']);
    const info = checkpoint.tensors.get('w')!;
    expect(info).toMatchObject({ dtype: 'F32', shape: [2, 3], alias: 'm.fc.weight', orientation: 'in x out' });
    expect(Buffer.from(await checkpoint.read('w'))).toEqual(floats(1, 1, 1, 1, 1, 1));
    expect(checkpoint.layout(new Map([['w', { as: 'F32' }]]))).toEqual([
      { file: 'a.onnx', parts: undefined, places: new Map([['w', { offset: info.offset, bytes: 24 }]]) },
    ]);
    expect(checkpoint.unlisted).toEqual([]);
  });

  it('of branches and bodies are listed, by their path if two share a name', async () => {
    const branch = (initializer: string) =>
      graphProto([nodeProto(constantNode('w')), nodeProto(matmul('/m/fc/MatMul', 'w'))], [counted(initializer, 2, 2)]);
    const nodes = [
      { op: 'If', inputs: ['c'], outputs: ['first'], graphs: [branch('a'), branch('b')] },
      { op: 'Loop', inputs: ['n', 'c'], outputs: ['second'], graphs: [branch('k')] },
    ];
    const { tensors } = await opened(nodes, []);
    expect([...tensors.keys()]).toEqual(['a', 'first.branch_0.w', 'b', 'first.branch_1.w', 'k', 'second.branch_0.w']);
    expect(tensors.get('first.branch_1.w')).toMatchObject({ orientation: 'in x out' });
    expect(tensors.get('first.branch_1.w')?.users).toBeUndefined();
  });

  it('are counted if they are not listed, with a hint', async () => {
    const inner = field(25, field(7, nodeProto(constantNode('w', [4, 4]))));
    const training = field(20, field(1, graphProto([nodeProto(constantNode('w'))], [counted('v', 1, 1)])));
    const sparse = field(15, field(1, tensorProto({ name: 's', dims: [2], raw: floats(1, 2) })));
    const other = nodeProto({ op: 'Scale', inputs: [], tensors: [counted('', 3, 3)] });
    const folder = temporaryFolder();
    const graph = Buffer.concat([graphProto([other], [counted('listed', 1, 1)]), sparse]);
    await fill(folder, { 'a.onnx': Buffer.concat([modelProto(graph), inner, training]) });
    const { tensors, unlisted } = await open(join(folder, 'a.onnx'));
    expect([...tensors.keys()]).toEqual(['listed']);
    const found = unlisted!.map(({ where, tensors: count, bytes }) => [where, count, bytes]).sort();
    expect(found).toEqual([
      ['in attributes of operators other than Constant', 1, 36],
      ['in functions of the model', 1, 64],
      ['in graphs for training', 2, 28],
      ['in sparse tensors', 1, 8],
    ]);
    expect(unlisted!.every(({ hint }) => hint !== '')).toBe(true);
  });
});

describe('the place of a weight in the model', () => {
  const aliasAndOrientation = async (nodes: readonly NodeParts[], name = 'onnx::MatMul_1') => {
    const info = (await opened(nodes, [counted(name, 2, 3)])).tensors.get(name)!;
    return [info.alias, info.orientation];
  };
  const w = 'onnx::MatMul_1';

  it('is the path of the node that multiplies by it', async () => {
    const alias = 'model.layers.0.mlp.up_proj.weight';
    const path = '/model/layers.0/mlp/up_proj';
    expect(await aliasAndOrientation([matmul(`${path}/MatMul`, w)])).toEqual([alias, 'in x out']);
    expect(await aliasAndOrientation([matmul(`${path}/Gemm`, w, { transB: 1 }, 'Gemm')])).toEqual([alias, 'out x in']);
    expect(await aliasAndOrientation([matmul(`${path}/Gemm`, w, { transB: 0 }, 'Gemm')])).toEqual([alias, 'in x out']);
    expect(await aliasAndOrientation([matmul(`${path}/MatMul_Q4`, w, {}, 'MatMulNBits')])).toEqual([alias, 'out x in']);
    const left = { op: 'MatMul', name: `${path}/MatMul`, inputs: [w, 'x'] };
    expect(await aliasAndOrientation([left])).toEqual([alias, 'out x in']);
  });

  it('is unknown if the node has no path, or does something else', async () => {
    expect(await aliasAndOrientation([matmul('MatMul_7', w)])).toEqual([undefined, 'in x out']);
    expect(await aliasAndOrientation([{ op: 'Gather', name: '/embed/Gather', inputs: [w, 'x'] }])).toEqual([
      undefined,
      undefined,
    ]);
    expect(await aliasAndOrientation([])).toEqual([undefined, undefined]);
  });

  it('is seen through nodes that pass a weight on', async () => {
    const last = matmul('/m/fc/MatMul', 'u');
    const pass = (op: string, ints?: NodeParts['ints']): NodeParts => ({ op, inputs: [w], outputs: ['u'], ints });
    expect(await aliasAndOrientation([pass('Identity'), last])).toEqual(['m.fc.weight', 'in x out']);
    expect(await aliasAndOrientation([pass('Cast', { to: 1 }), last])).toEqual(['m.fc.weight', 'in x out']);
    expect(await aliasAndOrientation([pass('Transpose', { perm: [1, 0] }), last])).toEqual(['m.fc.weight', 'out x in']);
    expect(await aliasAndOrientation([pass('Transpose'), last])).toEqual(['m.fc.weight', 'out x in']);
    expect(await aliasAndOrientation([pass('Reshape'), last])).toEqual([undefined, undefined]);
    const twice: NodeParts = { op: 'Transpose', inputs: ['u'], outputs: ['v'], ints: { perm: [1, 0] } };
    const chain = [pass('Transpose', { perm: [1, 0] }), twice, matmul('/m/fc/MatMul', 'v')];
    expect(await aliasAndOrientation(chain)).toEqual(['m.fc.weight', 'in x out']);
  });

  it('is seen in the branches of an If', async () => {
    const branch = graphProto([nodeProto(matmul('/m/fc/MatMul', w))], []);
    const branches = { op: 'If', name: 'if', inputs: ['c'], graphs: [branch, branch] };
    expect(await aliasAndOrientation([branches])).toEqual(['m.fc.weight', 'in x out']);
  });

  it('is that of the node that multiplies by the result of an If', async () => {
    const branch = (name: string) =>
      Buffer.concat([graphProto([nodeProto(constantNode(name))], []), field(12, field(1, name))]);
    const branches: NodeParts = { op: 'If', inputs: ['c'], outputs: ['v'], graphs: [branch('a'), branch('b')] };
    const { tensors } = await opened([branches, matmul('/m/fc/MatMul', 'v')], []);
    expect([...tensors.values()]).toMatchObject([
      { name: 'a', orientation: 'in x out' },
      { name: 'b', orientation: 'in x out' },
    ]);
  });

  it('gives no second name to an initialiser that kept its own', async () => {
    const own = 'model.h.0.fc.weight';
    expect(await aliasAndOrientation([matmul('/model/h.0/fc/MatMul', own)], own)).toEqual([undefined, 'in x out']);
    const built = 'model.h.0.fc.MatMul.weight';
    expect(await aliasAndOrientation([matmul('/model/h.0/fc/MatMul', built)], built)).toEqual([own, 'in x out']);
  });

  it('gives no name to two', async () => {
    const nodes = [matmul('/m/fc/MatMul', 'a'), matmul('/m/fc/MatMul_1', 'b'), matmul('/m/d/MatMul', 'c')];
    const taken = tensorProto({ name: 'm.d.weight', dims: [1], raw: floats(1) });
    const checkpoint = await opened(nodes, [counted('a', 1, 1), counted('b', 1, 1), counted('c', 1, 1), taken]);
    expect([...checkpoint.tensors.values()].map(({ alias }) => alias)).toEqual(Array(4).fill(undefined));
  });

  it('is refused for an edit if several places use it', async () => {
    const edit = async (nodes: readonly NodeParts[], shared?: boolean) =>
      edited(await opened(nodes, [counted(w, 2, 3)]), w, shared);
    const tied = [matmul('/lm_head/MatMul', w), { op: 'Gather', name: '/embed/Gather', inputs: [w, 'ids'] }];
    expect(await edit(tied)).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: `${w}: 2 places use it, and an edit would change all of them: "lm_head", "/embed/Gather"`,
      hint: expect.stringContaining('--shared'),
    });
    expect(await edit(tied, true)).toMatchObject([{ tensor: w, uses: 2 }]);
    const unnamed = [matmul('', w), { ...matmul('', w), outputs: ['z'] }];
    expect(await edit(unnamed)).toMatchObject({ code: 'ERR_UNSUPPORTED' });
    // The same module twice is one place, and what keeps all changes nothing.
    expect(await edit([matmul('/fc/MatMul', w), matmul('/fc/MatMul', w)])).toMatchObject([{ tensor: w }]);
    expect(await edited(await opened(tied, [counted(w, 2, 3)]), w, false, 1)).toMatchObject([{ identity: true }]);
  });

  it('is that of a module which is applied often, and its uses are counted', async () => {
    const path = '/albert/layers.0/ffn';
    const calls = [path, ...Array.from({ length: 7 }, (_, i) => `${path}_${i + 1}`)];
    const checkpoint = await opened(
      calls.map((call) => matmul(`${call}/MatMul`, w)),
      [counted(w, 2, 3)],
    );
    const info = checkpoint.tensors.get(w)!;
    expect(info).toMatchObject({ alias: 'albert.layers.0.ffn.weight', orientation: 'in x out' });
    expect(info.users).toHaveLength(8);
    // Other modules of alike names are others.
    const twins = [matmul('/fc_1/MatMul', w), matmul('/fc_2/MatMul', w)];
    expect((await opened(twins, [counted(w, 2, 3)])).tensors.get(w)?.alias).toBeUndefined();
  });

  it('is refused for an edit of a part if its uses have different orientations', async () => {
    const alias = '/model/layers.0/self_attn/qkv_proj';
    const ways = [matmul(`${alias}/MatMul`, w), matmul(`${alias}_1/Gemm`, w, { transB: 1 }, 'Gemm')];
    const folder = temporaryFolder();
    await fill(folder, {
      'model.onnx': modelProto(graphProto(ways.map(nodeProto), [counted(w, 48, 16)])),
      'config.json': JSON.stringify({
        model_type: 'phi3',
        hidden_size: 16,
        num_attention_heads: 2,
        num_key_value_heads: 2,
      }),
    });
    const checkpoint = await open(folder);
    const plan = async (at: string) => planEdits(checkpoint, { interventions: [at], shared: true });
    expect(await failure(plan('0:q_proj:0.5'))).toMatchObject({
      message: expect.stringMatching(/different orientations/),
    });
    expect((await plan('0:attn:0.5')).edits).toMatchObject([{ tensor: w, uses: 2 }]);
  });

  it('is refused for an edit if it defines how others are packed', async () => {
    const nodes = [{ op: 'DequantizeLinear', inputs: ['q', w], outputs: ['d'] }, matmul('/fc/MatMul', 'd')];
    const packed = tensorProto({ name: 'q', dims: [2, 3], type: 3, raw: Buffer.alloc(6) });
    const checkpoint = await opened(nodes, [counted(w, 2, 3), packed]);
    expect(checkpoint.tensors.get('q')).toMatchObject({ dtype: 'I8', alias: 'fc.weight' });
    expect(() => checkpoint.layout(new Map([[w, { as: 'F32' }]]))).toThrow(/DequantizeLinear unpacks/);
  });

  it('is refused for an edit if the weight is packed, whichever operator unpacks it', async () => {
    const packed: [NodeParts, number[], number][] = [
      [{ op: 'MatMulNBits', name: '/model/layers.0/mlp/up_proj/MatMul_Q4', inputs: ['x', 'q', w] }, [4, 1, 16], 2],
      [
        { op: 'QLinearMatMul', name: '/model/layers.0/mlp/up_proj/MatMul_quant', inputs: ['x', w, w, 'q', w, w, w, w] },
        [4, 4],
        3,
      ],
    ];
    for (const [node, dims, type] of packed) {
      const bytes = dims.reduce((product, dimension) => product * dimension, 1);
      const checkpoint = await opened(
        [node],
        [counted(w, 2, 3), tensorProto({ name: 'q', dims, type, raw: Buffer.alloc(bytes) })],
      );
      const plan = async (at: string) =>
        planEdits(checkpoint, { interventions: [at.includes('*') ? parseTensorSpec(at) : at], family: 'llama' });
      expect(await failure(plan('0:fc_up:0.5'))).toMatchObject({
        code: 'ERR_UNSUPPORTED',
        message: expect.stringMatching(/^q: dtype [UI]8 cannot be edited/),
        hint: expect.stringContaining('unquantised'),
      });
      expect((await failure(plan('onnx*:0.5'))).message).toContain(`${node.op} unpacks a quantised weight`);
    }
  });

  it('keeps the type of edited tensors', async () => {
    const checkpoint = await opened([], [counted('w', 1, 1)]);
    expect(() => checkpoint.layout(new Map([['w', { as: 'F16' }]]))).toThrow(/cannot become F16/);
    expect(() => checkpoint.layout(new Map([['v', { as: 'F32' }]]))).toThrow(/there is no tensor "v"/);
    const by = [{ name: 'a', dtype: 'F32', shape: [1] }] as const;
    expect(() => checkpoint.layout(new Map([['w', { by }]]))).toThrow(/^w: cannot become factors: no node/);
  });
});
