import { field, joined, node, tensorStart, valueInfo } from './encode.js';

/** Versions that all supported runtimes read, and that have every operator that is written here. */
const [IR_VERSION, OPSET] = [8, 17] as const;
const FLOAT = 4;

/**
 * The ONNX file of one layer y = W x without a bias, on which runtimes can be timed. W is 0.
 *
 * @param rows the vectors x of a run
 */
export function linearModel(rows: number, m: number, n: number): Uint8Array {
  const bytes = FLOAT * m * n;
  const graph = joined(
    field(1, node('MatMul', 'layer', ['x', 'w'], 'y')),
    field(2, 'layer'),
    field(5, joined(tensorStart('w', 'F32', [n, m], bytes), new Uint8Array(bytes))),
    field(11, valueInfo('x', 'F32', [rows, n])),
    field(12, valueInfo('y', 'F32', [rows, m])),
  );
  return joined(field(1, IR_VERSION), field(8, field(2, OPSET)), field(7, graph));
}
