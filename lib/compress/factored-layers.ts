import type { Checkpoint, NewTensorInfo, TensorInfo } from '../checkpoint/checkpoint.js';
import { formatNamed } from '../checkpoint/formats.js';
import { CheckpointError, describe, LowRankError } from '../errors.js';
import { type FloatDType, isFloatDType } from '../tensor/dtype.js';
import { factorNames, stemOfFactor, weightOf } from './factor-names.js';
import { storedConfig } from './stored-config.js';

/** A layer whose weight is stored as factors. */
export interface FactoredLayer {
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

/**
 * Finds the layers of a compressed checkpoint whose weights are factors: those that config.json
 * names, or in ONNX those whose factors have the names that `compress` gives them.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` where there are none; CheckpointError
 *   `ERR_CHECKPOINT_FORMAT`, kind `InvalidFactors`, where they do not fit together.
 */
export function factoredLayers(checkpoint: Checkpoint): FactoredLayer[] {
  if (checkpoint.graph !== undefined) return layersOfGraph(checkpoint);
  const { path, format } = checkpoint;
  if (formatNamed(format).hasModuleNames) return layersOfConfig(checkpoint);
  throw new LowRankError('ERR_UNSUPPORTED', `${path}: factors in ${format} cannot be multiplied out`, {
    hint: 'Use the model that it was compressed from, or compress and expand the safetensors checkpoint.',
  });
}

function layersOfGraph(checkpoint: Checkpoint): FactoredLayer[] {
  const { path, graph, tensors } = checkpoint;
  const stems = new Set([...tensors.keys()].flatMap((name) => stemOfFactor(name) ?? []));
  if (stems.size === 0) {
    throw new LowRankError('ERR_UNSUPPORTED', `${path}: has no weights that are factors`, {
      hint: 'Pass a model that `lowrank compress` wrote.',
    });
  }
  return [...stems].map((stem) => {
    const [left, right, order] = factorNames(stem);
    const pivoted = tensors.has(order);
    const layer = factoredLayer(checkpoint, stem, tensors.get(left)?.shape[1] ?? 0, { pivoted, transposed: true });
    const others = { right, order: pivoted ? order : undefined };
    const transposed = graph!.factoredWeight(stem, left, others) === 'in x out';
    const { shape } = layer.weight;
    return { ...layer, transposed, weight: { ...layer.weight, shape: transposed ? shape : shape.toReversed() } };
  });
}

/** Finds the layers that config.json names, and checks that they are all there are. */
function layersOfConfig(checkpoint: Checkpoint): FactoredLayer[] {
  const { path, tensors } = checkpoint;
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
  const weight = { name: weightOf(stem, checkpoint.format), dtype, shape: transposed ? [n, m] : [m, n] };
  return { weight, dtype, rank, left, right, order, transposed };
}

export function fault({ path }: Checkpoint, message: string): CheckpointError {
  return new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidFactors', path, message, {
    hint: 'Factors, and config.json beside them, have to be those that `lowrank compress` wrote together.',
  });
}
