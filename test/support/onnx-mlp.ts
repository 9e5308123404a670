import { gaussian } from './matrices.js';
import { field, graphProto, modelProto, nodeProto, tensorProto } from './onnx.js';

/** A ValueInfoProto of float32, or of another type by its number: sizes, or names of them. */
function valueInfo(name: string, shape: readonly (number | string)[], type = 1): Buffer {
  const dims = shape.map((size) => field(1, typeof size === 'number' ? field(1, size) : field(2, size)));
  return Buffer.concat([
    field(1, name),
    field(2, field(1, Buffer.concat([field(1, type), field(2, Buffer.concat(dims))]))),
  ]);
}

const initializer = (name: string, dims: readonly number[], data: Float32Array) =>
  tensorProto({ name, dims, raw: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) });

/** The weight of a layer of the model, whose singular values fall, [outputs, inputs]. */
export function mlpWeight(m: number, n: number, seed: number): Float32Array {
  const [b, a] = [gaussian([m, 8], seed).data, gaussian([8, n], seed + 100).data];
  const noise = gaussian([m, n], seed + 200).data;
  return noise.map((value, at) => {
    let sum = 0.05 * value;
    for (let k = 0; k < 8; k++) sum += (b[Math.floor(at / n) * 8 + k]! * a[k * n + (at % n)]!) / 2 ** k;
    return sum / 4;
  });
}

const columnwise = (data: Float32Array, m: number, n: number) =>
  data.map((_, at) => data[(at % m) * n + Math.floor(at / m)]!);

/**
 * The ONNX file of y = W3 relu(W2 relu(W1 x + b1)) + c, as exporters write linear layers: MatMul
 * and Add, MatMul by a weight that two layers share, and Gemm with `transB`.
 */
export function mlp({ shared = false, output = 'y' }: { readonly shared?: boolean; readonly output?: string } = {}) {
  const bias = initializer('m.0.bias', [48], gaussian([48, 1], 9).data);
  const nodes = [
    nodeProto({ op: 'MatMul', name: '/m/0/MatMul', inputs: ['x', 'onnx::MatMul_1'], outputs: ['h1'] }),
    nodeProto({ op: 'Add', name: '/m/0/Add', inputs: ['m.0.bias', 'h1'], outputs: ['h2'] }),
    nodeProto({ op: 'Relu', name: '/m/1/Relu', inputs: ['h2'], outputs: ['h3'] }),
    nodeProto({ op: 'MatMul', name: '/m/2/MatMul', inputs: ['h3', 'onnx::MatMul_2'], outputs: ['h4'] }),
    ...(shared
      ? [nodeProto({ op: 'MatMul', name: '/m/3/MatMul', inputs: ['h4', 'onnx::MatMul_2'], outputs: ['h5'] })]
      : []),
    nodeProto({ op: 'Relu', name: '/m/4/Relu', inputs: [shared ? 'h5' : 'h4'], outputs: ['h6'] }),
    nodeProto({
      op: 'Gemm',
      name: '/m/5/Gemm',
      inputs: ['h6', 'm.5.weight', 'm.5.bias'],
      outputs: [output],
      ints: { transB: 1 },
    }),
  ];
  const initializers = [
    initializer('onnx::MatMul_1', [32, 48], columnwise(mlpWeight(48, 32, 1), 48, 32)),
    bias,
    initializer('onnx::MatMul_2', [48, 48], columnwise(mlpWeight(48, 48, 2), 48, 48)),
    initializer('m.5.weight', [40, 48], mlpWeight(40, 48, 3)),
    initializer('m.5.bias', [40], gaussian([40, 1], 10).data),
  ];
  const graph = Buffer.concat([
    graphProto(nodes, initializers),
    field(11, valueInfo('x', ['batch', 32])),
    field(12, valueInfo(output, ['batch', 40])),
  ]);
  return modelProto(graph);
}

/** The ONNX file of y = W x, of these weights [outputs, inputs]. */
export function linearModel(w: ArrayLike<number>, m: number, n: number): Buffer {
  const nodes = [nodeProto({ op: 'MatMul', name: '/MatMul', inputs: ['x', 'w'], outputs: ['y'] })];
  const graph = Buffer.concat([
    graphProto(nodes, [initializer('w', [n, m], columnwise(Float32Array.from(w), m, n))]),
    field(11, valueInfo('x', ['batch', n])),
    field(12, valueInfo('y', ['batch', m])),
  ]);
  return modelProto(graph);
}

/** The ONNX file of a model that looks up rows of a matrix [100, columns]. */
export function embeddingModel(columns = 64): Buffer {
  const nodes = [nodeProto({ op: 'Gather', name: '/words/Gather', inputs: ['words', 'rows'], outputs: ['y'] })];
  const graph = Buffer.concat([
    graphProto(nodes, [initializer('words', [100, columns], gaussian([100, columns], 12).data)]),
    field(11, valueInfo('rows', ['batch', 4], 7)),
    field(12, valueInfo('y', ['batch', 4, columns])),
  ]);
  return modelProto(graph);
}
