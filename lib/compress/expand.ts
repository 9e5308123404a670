import { CALL_OPTIONS, type CallOptions } from '../addon/call.js';
import type { Checkpoint, NewTensorInfo, TensorChange, TensorInfo } from '../checkpoint/checkpoint.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import { formatNamed } from '../checkpoint/formats.js';
import { open } from '../checkpoint/open.js';
import { CheckpointError, describe, LowRankError } from '../errors.js';
import { matmul } from '../linalg/matmul.js';
import { checkOptions, type OptionTypes } from '../options.js';
import { type EditProgress, JOB_OPTIONS, Progress } from '../progress.js';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import { type FloatDType, isFloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { factorNames, stemOfFactor } from './factor-names.js';
import { LOADER } from './files-beside.js';
import { configWithout, storedConfig } from './stored-config.js';
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
 * Multiplies the factors of a compressed safetensors checkpoint out again: writes an ordinary
 * checkpoint with the names, shapes and types of the original, which every program reads. Products
 * are computed in float32 and rounded to the type of the factors. All other tensors keep their
 * bytes.
 *
 * @param source a folder that `compressCheckpoint` wrote; not modified
 * @param out must not exist
 * @throws LowRankError `ERR_UNSUPPORTED` for other checkpoints; CheckpointError
 *   `ERR_CHECKPOINT_FORMAT` where factors and
 * config.json do not fit together; as `editCheckpoint` for reading and writing.
 */
export async function expandCheckpoint(source: string, out: string, options?: ExpandOptions): Promise<ExpandReport> {
  const given = checkOptions(options, EXPAND_OPTIONS, 'expandCheckpoint');
  const { signal, threads } = given;
  signal?.throwIfAborted();
  const compute = { ...(signal && { signal }), ...(threads !== undefined && { threads }) };
  const checkpoint = await open(source);
  try {
    const layers = factoredLayers(checkpoint);
    const progress = new Progress(
      layers.map(({ left }) => left.bytes),
      given.onProgress,
    );
    const copying = {
      ...(signal && { signal }),
      changes: changesOf(layers),
      files: new Map([await configWithout(checkpoint), [LOADER, undefined] as const]),
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

/** A layer whose weight is stored as factors. */
interface FactoredLayer {
  readonly weight: NewTensorInfo;
  readonly dtype: FloatDType;
  readonly rank: number;
  /** [n, k]. */
  readonly left: TensorInfo;
  /** [k, m]; if pivoted [k, m - k]. */
  readonly right: TensorInfo;
  /** The column in [I, right] of each of the m outputs. */
  readonly order: TensorInfo | undefined;
  readonly transposed: boolean;
}

/** Finds the layers that config.json names, and checks that they are all there are. */
function factoredLayers(checkpoint: Checkpoint): FactoredLayer[] {
  const { path, format, tensors } = checkpoint;
  if (!formatNamed(format).hasModuleNames) {
    throw new LowRankError('ERR_UNSUPPORTED', `${path}: factors in ${format} cannot be multiplied out`, {
      hint: 'Use the model that it was compressed from, or compress and expand the safetensors checkpoint.',
    });
  }
  const stored = storedConfig(checkpoint);
  if (stored === undefined) {
    throw new LowRankError('ERR_UNSUPPORTED', `${path}: config.json names no low-rank layers`, {
      hint: 'Pass the folder that `lowrank compress` wrote from a safetensors checkpoint.',
    });
  }
  const stray = [...tensors.keys()].find((name) => {
    const stem = stemOfFactor(name);
    return stem !== undefined && !Object.hasOwn(stored.layers, stem);
  });
  if (stray !== undefined) throw fault(checkpoint, `${describe(stray)} belongs to no layer that config.json names`);
  const turned = new Set(stored.transposed);
  return Object.entries(stored.layers).map(([stem, rank]) =>
    factoredLayer(checkpoint, stem, rank, { pivoted: stored.storage === 'pivoted', transposed: turned.has(stem) }),
  );
}

function factoredLayer(
  checkpoint: Checkpoint,
  stem: string,
  rank: number,
  { pivoted, transposed }: { readonly pivoted: boolean; readonly transposed: boolean },
): FactoredLayer {
  const [left, right, order] = factorNames(stem).map((name) => {
    const info = checkpoint.tensors.get(name);
    const wanted = pivoted || !name.endsWith('.order');
    if (wanted === (info !== undefined)) return info;
    throw fault(
      checkpoint,
      wanted ? `there is no tensor ${describe(name)}` : `${describe(name)}: factors have no order`,
    );
  }) as [TensorInfo, TensorInfo, TensorInfo | undefined];
  const { dtype } = left;
  const n = left.shape[0] ?? 0;
  const m = (right.shape[1] ?? 0) + (pivoted ? rank : 0);
  const expected = [
    { info: left, dtype, shape: [n, rank] },
    { info: right, dtype, shape: [rank, pivoted ? m - rank : m] },
    ...(pivoted ? [{ info: order!, dtype: 'I32', shape: [m] }] : []),
  ];
  for (const { info, dtype, shape } of expected) {
    if (info.dtype === dtype && info.shape.join() === shape.join()) continue;
    const has = `${info.dtype} ${describe(info.shape)}`;
    throw fault(checkpoint, `${describe(info.name)}: expected ${dtype} ${describe(shape)}, got ${has}`);
  }
  if (!isFloatDType(dtype)) throw fault(checkpoint, `${describe(left.name)}: ${dtype} is no type of factors`);
  const weight = { name: `${stem}.weight`, dtype, shape: transposed ? [n, m] : [m, n] };
  return { weight, dtype, rank, left, right, order, transposed };
}

function fault({ path }: Checkpoint, message: string): CheckpointError {
  return new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidFactors', path, message, {
    hint: 'Weights and config.json have to be those that `lowrank compress` wrote together.',
  });
}

/** Each weight takes the place of its first factor. */
function changesOf(layers: readonly FactoredLayer[]): Map<string, TensorChange> {
  const changes = new Map<string, TensorChange>();
  for (const { weight, left, right, order } of layers) {
    changes.set(left.name, { by: [weight] }).set(right.name, { by: [] });
    if (order !== undefined) changes.set(order.name, { by: [] });
  }
  return changes;
}

async function product(checkpoint: Checkpoint, layer: FactoredLayer, options: CallOptions): Promise<Uint8Array> {
  const { dtype, rank, transposed: turned } = layer;
  const read = async ({ name, shape }: TensorInfo): Promise<Tensor> => ({
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
