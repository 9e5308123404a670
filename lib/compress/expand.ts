import { CALL_OPTIONS, type CallOptions } from '../addon/call.js';
import type { Checkpoint, TensorChange, TensorInfo } from '../checkpoint/checkpoint.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import { open } from '../checkpoint/open.js';
import { describe } from '../errors.js';
import { matmul } from '../linalg/matmul.js';
import { checkOptions, type OptionTypes } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { PlainTensor } from '../tensor/tensor.js';
import { requireOwnFiles } from './compressible.js';
import { type FactoredLayer, factoredLayers, fault } from './factored-layers.js';
import { LOADER } from './files-beside.js';
import { configWithout } from './stored-config.js';
import { transposed } from './stored-factors.js';

export interface ExpandOptions extends Omit<CallOptions, 'onProgress'> {
  onProgress?: ((progress: EditProgress) => void) | undefined;
}

const EXPAND_OPTIONS: OptionTypes<ExpandOptions> = { ...CALL_OPTIONS, ...JOB_OPTIONS };

/** A weight that was multiplied out. */
export interface ExpandedLayer {
  readonly name: string;
  /** As it lies in the file. */
  readonly shape: readonly number[];
  readonly dtype: FloatDType;
  readonly rank: number;
}

export interface ExpandReport extends OutputSummary {
  readonly source: string;
  readonly layers: readonly ExpandedLayer[];
  readonly seconds: number;
}

/**
 * Multiplies the factors of a compressed checkpoint out again: writes an ordinary checkpoint with
 * the names, shapes and types of the original, which every program reads. Products are computed in
 * float32 and rounded to the type of the factors. All other tensors keep their bytes. In ONNX one
 * node takes the place of those that multiplied by factors, and of those that put factors together.
 *
 * @param source what `compressCheckpoint` wrote: a folder of safetensors, an ONNX file or a folder
 *   with one; not modified
 * @param out must not exist
 * @throws LowRankError `ERR_UNSUPPORTED` for other checkpoints, and where an ONNX graph does
 *   something else with factors; CheckpointError `ERR_CHECKPOINT_FORMAT` where factors do not fit
 *   together, or not to config.json; as `editCheckpoint` for reading and writing.
 */
export async function expandCheckpoint(source: string, out: string, options?: ExpandOptions): Promise<ExpandReport> {
  const given = checkOptions(options, EXPAND_OPTIONS, 'expandCheckpoint');
  const { signal, threads } = given;
  signal?.throwIfAborted();
  const compute = { ...(signal && { signal }), ...(threads !== undefined && { threads }) };
  const checkpoint = await open(source);
  try {
    const layers = factoredLayers(checkpoint);
    await requireOwnFiles(checkpoint, 'Expand');
    const progress = new Progress(
      layers.map(({ left }) => left.bytes),
      given.onProgress,
    );
    const copying = {
      ...(signal && { signal }),
      changes: changesOf(layers),
      files:
        checkpoint.graph === undefined
          ? new Map([await configWithout(checkpoint), [LOADER, undefined] as const])
          : new Map<string, undefined>(),
      onCopy: () => progress.phase('copy'),
      onCommit: () => progress.phase('commit'),
    };
    const { output } = await withCopy(checkpoint, out, copying, async (copy) => {
      for (const layer of layers) {
        signal?.throwIfAborted();
        progress.working(layer.weight.name, layer.left.bytes, 0);
        await copy.write(layer.weight.name, await product(checkpoint, layer, compute));
        progress.finished(layer.weight.name, layer.left.bytes);
      }
    });
    const described = layers.map(({ weight: { name, shape }, dtype, rank }) => ({ name, shape, dtype, rank }));
    return { source: checkpoint.path, ...output, layers: described, seconds: progress.seconds };
  } finally {
    await checkpoint.close();
  }
}

/** Each weight takes the place of its first factor. */
function changesOf(layers: readonly FactoredLayer[]): Map<string, TensorChange> {
  const changes = new Map<string, TensorChange>();
  for (const { weight, left, right, order } of layers) {
    changes.set(left.name, { by: [weight], times: { right: right.name, order: order?.name } });
    changes.set(right.name, { by: [] });
    if (order !== undefined) changes.set(order.name, { by: [] });
  }
  return changes;
}

async function product(checkpoint: Checkpoint, layer: FactoredLayer, options: CallOptions): Promise<Uint8Array> {
  const { dtype, rank, transposed: turned } = layer;
  const read = async ({ name, shape }: TensorInfo): Promise<PlainTensor> => ({
    data: toFloat32(await checkpoint.read(name), dtype),
    shape,
  });
  const [left, right] = [await read(layer.left), await read(layer.right)];
  const [n, m] = [left.shape[0]!, right.shape[1]!];
  const rest = m === 0 ? new Float32Array(0) : (await matmul(left, right, options)).data;
  if (layer.order === undefined) return fromFloat32(turned ? rest : transposed(rest, n, m), dtype);
  const order = await orderOf(checkpoint, layer.order);
  // The columns of the pivots are those of `left` itself.
  const [height, width] = turned ? [n, order.length] : [order.length, n];
  const whole = new Float32Array(height * width);
  for (const [output, at] of order.entries()) {
    for (let i = 0; i < n; i++) {
      const value = at < rank ? left.data[i * rank + at]! : rest[i * m + at - rank]!;
      whole[turned ? i * width + output : output * width + i] = value;
    }
  }
  return fromFloat32(whole, dtype);
}

async function orderOf(checkpoint: Checkpoint, { name, shape }: TensorInfo): Promise<Int32Array> {
  const bytes = await checkpoint.read(name);
  const order = new Int32Array(bytes.slice().buffer);
  const isOrder = new Set(order).size === shape[0] && order.every((at) => at >= 0 && at < shape[0]!);
  if (!isOrder) throw fault(checkpoint, `${describe(name)} is no order of ${shape[0]} outputs`);
  return order;
}
