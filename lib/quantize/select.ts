import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { compressibleLayers, type LeftOut } from '../compress/select.js';
import { LowRankError } from '../errors.js';
import { formatsFor, type Stored } from './choices.js';
import type { QuantizedMatrix } from './matrix.js';
import { changeOf } from './stored-tensors.js';

/** Rows of embeddings that are worth rounding. */
const LEAST_ROWS = 64;

/**
 * Finds the matrices that can be stored in few bits. Heads and classifiers stay as they are unless
 * `heads` is set.
 */
export function quantizableMatrices(
  checkpoint: Checkpoint,
  { heads, embeddings }: { readonly heads: boolean; readonly embeddings: boolean },
): { readonly matrices: readonly QuantizedMatrix[]; readonly leftOut: readonly LeftOut[] } {
  const { layers, leftOut } = compressibleLayers(checkpoint, { heads });
  const linear = layers.map((layer): QuantizedMatrix => ({ ...layer, use: 'linear' }));
  const matrices: QuantizedMatrix[] = [];
  const left = [...leftOut];
  for (const matrix of embeddings ? [...lookups(checkpoint), ...linear] : linear) {
    const why = obstacle(checkpoint, matrix);
    if (why === undefined) matrices.push(matrix);
    else left.push({ name: matrix.name, why });
  }
  return { matrices, leftOut: left };
}

function lookups({ tensors, graph }: Checkpoint): QuantizedMatrix[] {
  return [...tensors.values()].flatMap((info): QuantizedMatrix[] => {
    const [m, n] = info.shape;
    if (info.shape.length !== 2 || m! < LEAST_ROWS || n! < 2 || graph?.isLookedUp(info.name) !== true) return [];
    const rows = { ...info, orientation: 'out x in' } as const;
    return [{ info: rows, name: info.alias ?? info.name, m: m!, n: n!, stem: info.name, aliases: [], use: 'lookup' }];
  });
}

/** Why a matrix cannot be stored in few bits: the format is asked for a layout with some. */
function obstacle(checkpoint: Checkpoint, matrix: QuantizedMatrix): string | undefined {
  const { info, n } = matrix;
  if (info.dtype !== 'F32') return `its type is ${info.dtype}`;
  const [format] = formatsFor(matrix, [8]);
  if (format === undefined) return `no block of 32 or more divides its ${n} columns`;
  const stored: Stored = { kind: 'blocks', format, rank: 0 };
  try {
    checkpoint.layout(new Map([[info.name, changeOf(matrix, stored)!]]));
    return undefined;
  } catch (error) {
    if (error instanceof LowRankError) return error.message;
    throw error;
  }
}
