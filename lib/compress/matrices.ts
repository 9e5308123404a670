import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { formatsFor } from '../quantize/coded.js';
import type { QuantizedMatrix } from '../quantize/matrix.js';
import { codedChange } from '../quantize/stored-tensors.js';
import type { Storage } from './ranks.js';
import { factorObstacle, type Layer, type LeftOut, refusalOf, selectLayers } from './select.js';

/** A matrix that may become something else: a linear layer's, or one whose rows are looked up. */
export interface Matrix extends Layer, QuantizedMatrix {
  readonly info: Layer['info'];
  /** Whether it can become factors. */
  readonly factors: boolean;
  /** Whether it can become whole numbers of few bits. */
  readonly codes: boolean;
}

/** What matrices may become. */
export interface Ways {
  readonly heads: boolean;
  readonly embeddings: boolean;
  /** How factors are stored; undefined for no factors. */
  readonly storage: Storage | undefined;
  readonly codes: boolean;
}

/**
 * Finds the matrices that can be stored in any of these ways, embeddings first.
 *
 * @throws as `selectLayers`
 */
export function matricesOf(
  checkpoint: Checkpoint,
  ways: Ways,
): { readonly matrices: readonly Matrix[]; readonly leftOut: readonly LeftOut[] } {
  const found = new Map<string, Matrix>();
  const obstacle = (layer: Layer, use: Matrix['use']) => {
    const matrix = { ...layer, use };
    const { storage } = ways;
    const offered = storage !== undefined && use === 'linear';
    const againstFactors = offered ? factorObstacle(checkpoint, layer, storage) : NOT_OFFERED;
    const againstCodes = ways.codes ? codeObstacle(checkpoint, matrix) : NOT_OFFERED;
    const [factors, codes] = [againstFactors === undefined, againstCodes === undefined];
    if (!factors && !codes) return againstFactors === NOT_OFFERED ? againstCodes : againstFactors;
    found.set(layer.info.name, { ...matrix, factors, codes });
    return undefined;
  };
  const embeddings = ways.embeddings ? lookups(checkpoint) : [];
  const inTheWay = embeddings.flatMap((each): LeftOut[] => {
    const why = obstacle(each, 'lookup');
    return why === undefined ? [] : [{ name: each.name, why }];
  });
  const { leftOut } = selectLayers(checkpoint, ways.heads, (layer) => obstacle(layer, 'linear'));
  return { matrices: [...found.values()], leftOut: [...leftOut, ...inTheWay] };
}

const NOT_OFFERED = 'nothing is offered for it';

/** Rows of embeddings that are worth rounding. */
const LEAST_ROWS = 64;

function lookups({ tensors, graph }: Checkpoint): Layer[] {
  return [...tensors.values()].flatMap((info): Layer[] => {
    const [m, n] = info.shape;
    if (info.shape.length !== 2 || m! < LEAST_ROWS || n! < 2 || graph?.isLookedUp(info.name) !== true) return [];
    const rows = { ...info, orientation: 'out x in' } as const;
    return [{ info: rows, name: info.alias ?? info.name, m: m!, n: n!, stem: info.name, aliases: [] }];
  });
}

/** Why a matrix cannot be stored in few bits: the format is asked for a layout with some. */
function codeObstacle(checkpoint: Checkpoint, matrix: QuantizedMatrix): string | undefined {
  const { info } = matrix;
  if (info.dtype !== 'F32') return `its type is ${info.dtype}`;
  const [format] = formatsFor(matrix, [8]);
  return refusalOf(checkpoint, info.name, codedChange(matrix, { kind: 'blocks', format: format!, rank: 0 }));
}
