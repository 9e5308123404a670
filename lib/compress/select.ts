import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import { isFloatDType } from '../tensor/dtype.js';

/** A linear layer y = W x that can be written as factors: W has m rows, one for each output, and n columns. */
export interface Layer {
  readonly info: TensorInfo;
  /** The name of the weight in the model that was exported, where the file tells it. */
  readonly name: string;
  readonly m: number;
  readonly n: number;
}

/** A matrix that stays as it is, and why. */
export interface LeftOut {
  readonly name: string;
  readonly why: string;
}

/** Names of layers whose outputs are what the model says. */
const HEADS = /(?:^|\.)(?:lm_head|embed_out|score|classifier|qa_outputs|pooler|cls|predictions)(?:\.|$)/;

/** Lists the linear layers of a checkpoint: the matrices of which it tells how they lie. */
export function linearLayers({ tensors }: Checkpoint): Layer[] {
  return [...tensors.values()].flatMap((info) => {
    const { shape, orientation, alias } = info;
    if (shape.length !== 2 || orientation === undefined || Math.min(...shape) < 2) return [];
    const [m, n] = (orientation === 'in x out' ? shape.toReversed() : shape) as [number, number];
    return [{ info, name: alias ?? info.name, m, n }];
  });
}

/**
 * Finds the linear layers whose weights can be replaced by factors. Heads and classifiers stay as they are unless `heads`
 * is set.
 */
export function compressibleLayers(
  checkpoint: Checkpoint,
  { heads = false }: { readonly heads?: boolean } = {},
): { readonly layers: readonly Layer[]; readonly leftOut: readonly LeftOut[] } {
  const layers: Layer[] = [];
  const leftOut: LeftOut[] = [];
  for (const layer of linearLayers(checkpoint)) {
    const { name } = layer;
    const why = !heads && HEADS.test(name) ? 'it is a head of the model' : obstacle(checkpoint, layer);
    if (why === undefined) layers.push(layer);
    else leftOut.push({ name, why });
  }
  return { layers, leftOut };
}

/** Why a weight cannot become factors: the format is asked for a layout with some. */
function obstacle(checkpoint: Checkpoint, { info, m, n }: Layer): string | undefined {
  const { name, dtype } = info;
  if (!isFloatDType(dtype)) return `its type is ${dtype}`;
  const [left, right] = factorNames(info);
  const by = [
    { name: left, dtype, shape: [n, 1] },
    { name: right, dtype, shape: [1, m] },
  ];
  try {
    checkpoint.layout(new Map([[name, { by }]]));
    return undefined;
  } catch (error) {
    if (error instanceof LowRankError) return error.message;
    throw error;
  }
}

/** The names of the tensors that take a weight's place. */
export function factorNames({ name }: TensorInfo): [left: string, right: string, order: string] {
  return [`${name}.lowrank.left`, `${name}.lowrank.right`, `${name}.lowrank.order`];
}
