import type { Checkpoint, Orientation, TensorChange, TensorInfo } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import { isFloatDType } from '../tensor/dtype.js';
import { factorNames, stemOf } from './factor-names.js';
import { moduleMatrices } from './module-matrices.js';
import type { Storage } from './ranks.js';

/**
 * A linear layer y = W x that can be written as factors: W has m rows, one for each output, and n
 * columns.
 */
export interface Layer {
  /** The weight, with the way it lies. */
  readonly info: TensorInfo & { readonly orientation: Orientation };
  /** The name of the weight in the model that was exported, where the file tells it. */
  readonly name: string;
  readonly m: number;
  readonly n: number;
  /** What the names of its factors begin with. */
  readonly stem: string;
  /** Other names under which a file of moments may have it: those of GGUF. */
  readonly aliases: readonly string[];
}

/** A matrix that stays as it is, and why. */
export interface LeftOut {
  readonly name: string;
  readonly why: string;
}

/** Lists the linear layers that the model's graph shows. */
export function linearLayers({ tensors, format }: Checkpoint): Layer[] {
  return [...tensors.values()].flatMap((info) => {
    const { shape, orientation, alias } = info;
    if (shape.length !== 2 || orientation === undefined || Math.min(...shape) < 2) return [];
    return [layerOf(format, { ...info, orientation }, alias ?? info.name)];
  });
}

function layerOf(
  format: Checkpoint['format'],
  info: Layer['info'],
  name: string,
  aliases: readonly string[] = [],
): Layer {
  const [m, n] = (info.orientation === 'in x out' ? info.shape.toReversed() : info.shape) as [number, number];
  return { info, name, m, n, stem: stemOf(info.name, format), aliases };
}

/** Names of layers whose outputs are what the model says. */
const HEADS = /(?:^|\.)(?:lm_head|embed_out|score|classifier|qa_outputs|pooler|cls|predictions)(?:\.|$)/;

/** Why a layer cannot become something else; undefined where it can. */
type Obstacle = (layer: Layer) => string | undefined;

interface Selected {
  readonly layers: readonly Layer[];
  readonly leftOut: readonly LeftOut[];
}

/**
 * Finds the linear layers whose weights can be replaced by factors that are stored in some way.
 *
 * @throws as {@link selectLayers}
 */
export function compressibleLayers(
  checkpoint: Checkpoint,
  { heads = false, storage = 'factors' }: { readonly heads?: boolean; readonly storage?: Storage } = {},
): Selected {
  return selectLayers(checkpoint, heads, (layer) => factorObstacle(checkpoint, layer, storage));
}

/**
 * Finds the linear layers that nothing is in the way of. Heads and classifiers stay as they are
 * unless `heads` is set. Which matrices of a file without a graph belong to linear layers, only the
 * model's family tells: matrices that it does not name stay as they are, too.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` for files without a graph whose family is not known.
 */
export function selectLayers(checkpoint: Checkpoint, heads: boolean, obstacle: Obstacle): Selected {
  const isHead = (name: string) => HEADS.test(name);
  const layers: Layer[] = [];
  const leftOut: LeftOut[] = [];
  const consider = (layer: Layer) => {
    const { name } = layer;
    const why = !heads && isHead(name) ? 'it is a head of the model' : obstacle(layer);
    if (why === undefined) layers.push(layer);
    else leftOut.push({ name, why });
  };
  if (checkpoint.graph !== undefined) {
    leftOut.push(...quantised(checkpoint));
    for (const layer of linearLayers(checkpoint)) if (isFloatDType(layer.info.dtype)) consider(layer);
    return { layers, leftOut };
  }
  for (const matrix of moduleMatrices(checkpoint, isHead)) {
    const { name } = matrix.info;
    if ('why' in matrix) leftOut.push({ name, why: matrix.why });
    else consider(layerOf(checkpoint.format, matrix.info, name, matrix.ggufNames));
  }
  return { layers, leftOut };
}

/** The weights of a graph that its operators multiply by packed, whatever their shape. */
function quantised({ tensors }: Checkpoint): LeftOut[] {
  return [...tensors.values()].flatMap(({ name, alias, dtype, orientation }) => {
    if (orientation === undefined || isFloatDType(dtype)) return [];
    return [{ name: alias ?? name, why: `it is quantised, to ${dtype}: compress the float file instead` }];
  });
}

/** Why a weight cannot become factors: the format is asked for a layout with the smallest. */
export function factorObstacle(
  checkpoint: Checkpoint,
  { info, m, n, stem }: Layer,
  storage: Storage,
): string | undefined {
  const { name, dtype } = info;
  if (!isFloatDType(dtype)) return `its type is ${dtype}`;
  // Without a graph no other tensor or node can be in the way.
  if (checkpoint.graph === undefined) return undefined;
  const [left, right, order] = factorNames(stem);
  const pivoted = storage === 'pivoted';
  const by = [
    { name: left, dtype, shape: [n, 1] },
    { name: right, dtype, shape: [1, pivoted ? m - 1 : m] },
    ...(pivoted ? [{ name: order, dtype: 'I32', shape: [m] } as const] : []),
  ];
  return refusalOf(checkpoint, name, { by });
}

/** Why a tensor cannot be changed in this way, by the format's own word. */
export function refusalOf(checkpoint: Checkpoint, name: string, change: TensorChange): string | undefined {
  try {
    checkpoint.layout(new Map([[name, change]]));
    return undefined;
  } catch (error) {
    if (!(error instanceof LowRankError)) throw error;
    const why = error.message.replace(`${name}: `, '');
    return error.hint === undefined ? why : `${why}. ${error.hint.replace(/\.$/, '')}`;
  }
}
