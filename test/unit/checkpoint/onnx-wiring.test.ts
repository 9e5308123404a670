import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { open } from '../../../lib/checkpoint/open.js';
import { temporaryFolder } from '../../support/folder.js';
import { counted, floats, graphProto, modelProto, type NodeParts, nodeProto, tensorProto } from '../../support/onnx.js';
import { fill } from '../../support/safetensors.js';

const vector = (name: string) => tensorProto({ name, dims: [4], raw: floats(1, 2, 3, 4) });

/** Opens a model with the weights w and v, the vectors b and c, and these nodes. */
async function graphOf(...nodes: NodeParts[]) {
  const folder = temporaryFolder();
  const weights = [counted('w', 4, 4), counted('v', 4, 4), vector('b'), vector('c')];
  const outputs = [{ name: 'y', type: 1, dims: ['batch', 4] }];
  await fill(folder, { 'a.onnx': modelProto(graphProto(nodes.map(nodeProto), weights, [], outputs)) });
  const checkpoint = await open(join(folder, 'a.onnx'));
  await checkpoint.close();
  return checkpoint.graph!;
}
const biasOf = async (...nodes: NodeParts[]) => (await graphOf(...nodes)).biasOf('w');

const matMul: NodeParts = { op: 'MatMul', inputs: ['x', 'w'], outputs: ['h'] };
const add = (...inputs: string[]): NodeParts => ({ op: 'Add', inputs });
const gemm = (floats: Readonly<Record<string, number>> = {}): NodeParts => ({
  op: 'Gemm',
  inputs: ['x', 'w', 'b'],
  floats,
  ints: { transB: 1 },
});

describe('the bias of a weight of an ONNX model', () => {
  it('is what the Add after the product adds, on either side', async () => {
    expect(await biasOf(matMul, add('h', 'b'))).toBe('b');
    expect(await biasOf(matMul, add('b', 'h'))).toBe('b');
    expect(await biasOf(matMul, add('h', 'x'))).toBeUndefined();
    expect(await biasOf(matMul, { op: 'Mul', inputs: ['h', 'b'] })).toBeUndefined();
    expect(await biasOf({ ...matMul, outputs: ['y'] })).toBeUndefined();
  });

  it('is C of a Gemm, unless product and bias are scaled differently', async () => {
    expect(await biasOf(gemm())).toBe('b');
    expect(await biasOf(gemm({ alpha: 1, beta: 1 }))).toBe('b');
    expect(await biasOf(gemm({ alpha: 0.5, beta: 0.5 }))).toBe('b');
    expect(await biasOf(gemm({ alpha: 0.5 }))).toBeUndefined();
    expect(await biasOf(gemm({ beta: 0 }))).toBeUndefined();
    const without: NodeParts = { op: 'Gemm', inputs: ['x', 'w'], outputs: ['h'] };
    expect(await biasOf(without, add('h', 'b'))).toBe('b');
    expect(await biasOf({ ...without, floats: { alpha: 2 } }, add('h', 'b'))).toBeUndefined();
  });

  it('is not one that something else uses, nor where something else sees the product', async () => {
    const other: NodeParts = { op: 'Relu', inputs: ['b'], outputs: ['z'] };
    expect(await biasOf(matMul, add('h', 'b'), other)).toBeUndefined();
    expect(await biasOf(matMul, add('h', 'b'), { ...other, inputs: ['h'] })).toBeUndefined();
    expect(await biasOf({ ...matMul, outputs: ['y'] }, { ...add('y', 'b'), outputs: ['z'] })).toBeUndefined();
    expect(await biasOf(matMul, add('h', 'b'), { ...other, inputs: ['w'] })).toBeUndefined();
  });

  it('may be shared as the weight is, and no other way', async () => {
    const again = (bias: string): NodeParts[] => [
      { op: 'MatMul', inputs: ['k', 'w'], outputs: ['l'] },
      { op: 'Add', inputs: ['l', bias], outputs: ['z'] },
    ];
    expect(await biasOf(matMul, { ...add('h', 'b'), outputs: ['k'] }, ...again('b'))).toBe('b');
    expect(await biasOf(matMul, { ...add('h', 'b'), outputs: ['k'] }, ...again('c'))).toBeUndefined();
    const two: NodeParts[] = [
      { op: 'MatMul', inputs: ['h', 'v'], outputs: ['l'] },
      { op: 'Add', inputs: ['l', 'b'], outputs: ['z'] },
    ];
    expect(await biasOf(matMul, add('h', 'b'), ...two)).toBeUndefined();
  });
});

describe('a weight that the bodies of nodes multiply by', () => {
  /** An If, or another node, with bodies that return `z`. */
  const around = (op: string, ...bodies: (readonly [NodeParts[], Uint8Array[]?])[]): NodeParts => ({
    op,
    inputs: ['chosen'],
    graphs: bodies.map(([nodes, own = []]) =>
      graphProto(nodes.map(nodeProto), own, [], [{ name: 'z', type: 1, dims: ['batch', 4] }]),
    ),
  });
  const times = (weight: string, more: Partial<NodeParts> = {}): NodeParts => ({
    op: 'MatMul',
    inputs: ['x', weight],
    outputs: ['h'],
    ...more,
  });
  const added = (bias: string): NodeParts => ({ op: 'Add', inputs: ['h', bias], outputs: ['z'] });

  it('has a bias that all branches add', async () => {
    expect(await biasOf(around('If', [[times('w'), added('b')]], [[times('w'), added('b')]]))).toBe('b');
    expect(await biasOf(around('If', [[times('w'), added('b')]], [[times('w'), added('c')]]))).toBeUndefined();
    // The value h of the other branch is another.
    const other: NodeParts[] = [times('v'), { op: 'Relu', inputs: ['h'], outputs: ['z'] }];
    expect(await biasOf(around('If', [[times('w'), added('b')]], [other]))).toBe('b');
    expect(await biasOf(around('If', [[times('w'), added('b')], [vector('b')]], [other]))).toBeUndefined();
  });

  it('is found through nodes of a branch, whatever the values of another are called', async () => {
    const turned = (weight: string): NodeParts[] => [
      { op: 'Transpose', inputs: [weight], outputs: ['t'] },
      { op: 'Relu', inputs: ['x'], outputs: ['i'] },
      times('t', { inputs: ['i', 't'] }),
      added('b'),
    ];
    const graph = await graphOf(around('If', [turned('w')], [turned('v')]));
    expect(graph.inputsOf('w')).toEqual(['y.branch_0.i']);
    expect(graph.inputsOf('v')).toEqual(['y.branch_1.i']);
    expect(graph.productOf('w')).toBe('y.branch_0.h');
  });

  it('is not what a branch calls the same', async () => {
    const own = around('If', [[times('w'), added('b')], [counted('w', 4, 4)]], [[times('v'), added('b')]]);
    const graph = await graphOf(own, { op: 'MatMul', inputs: ['y', 'w'], outputs: ['last'] });
    expect(graph.inputsOf('w')).toEqual(['y']);
  });

  it('sees values of the graph around it as they are, and none that cannot come out', async () => {
    const branches = (node: NodeParts[]) => around('If', [node], [[times('v'), added('b')]]);
    expect((await graphOf(branches([times('w'), added('b')]))).inputsOf('w')).toEqual(['x']);
    const inside: NodeParts[] = [
      { op: 'Relu', inputs: ['x'], outputs: ['i'] },
      times('w', { inputs: ['i', 'w'] }),
      added('b'),
    ];
    const nested = around('If', [[{ ...branches(inside), outputs: ['z'] }]], [[times('v'), added('b')]]);
    expect((await graphOf(nested)).inputsOf('w')).toEqual(['y.branch_0.z.branch_0.i']);
    const loop = await graphOf(around('Loop', [inside]));
    expect(loop.inputsOf('w')).toEqual([]);
    // An output that the node leaves out would be the last.
    const more = { ...branches(inside), outputs: ['y', 'more'] };
    expect((await graphOf(more)).inputsOf('w')).toEqual([]);
  });
});

describe('the input of a weight of an ONNX model', () => {
  it('is found through nodes that hand the weight on, and not where it is transposed', async () => {
    const turn: NodeParts = { op: 'Transpose', inputs: ['w'], outputs: ['t'] };
    const graph = await graphOf(turn, { op: 'MatMul', inputs: ['x', 't'] });
    expect(graph.inputsOf('w')).toEqual(['x']);
    expect(graph.productOf('w')).toBe('y');
    const turned = await graphOf({ ...gemm(), ints: { transA: 1 } });
    expect(turned.inputsOf('w')).toEqual([]);
  });

  it('is none of an operator of another domain, whatever it is called', async () => {
    const graph = await graphOf({ ...matMul, domain: 'com.example' });
    expect(graph.inputsOf('w')).toEqual([]);
    expect((await graphOf({ ...matMul, domain: 'ai.onnx' })).inputsOf('w')).toEqual(['x']);
  });

  it('does not loop where a damaged graph does', async () => {
    const loop = (from: string, to: string): NodeParts => ({ op: 'Identity', inputs: [from], outputs: [to] });
    expect((await graphOf(loop('w', 'a'), loop('a', 'w'))).inputsOf('w')).toEqual([]);
  });
});
