import type { Orientation, TensorInfo } from '../checkpoint/checkpoint.js';
import { describe, LowRankError } from '../errors.js';
import { isReadableType } from '../tensor/dtype.js';
import type { Fusion } from './families.js';
import { type Config, hiddenSize, innerSize, type Stated } from './sizes.js';
import type { MatrixType } from './types.js';

/** A matrix of a layer, as far as it bears on how the model stores its weights. */
export interface LayerMatrix {
  readonly info: Pick<TensorInfo, 'name' | 'shape' | 'dtype'>;
  readonly type: MatrixType;
  /** How it shares its tensor with others; undefined when the tensor is the matrix. */
  readonly fusion: Fusion | undefined;
  /** How the family stores it. */
  readonly usual: Orientation;
  /** What the file format says, which leaves nothing to infer. */
  readonly certain: Orientation | undefined;
}

/** The matrices that give the hidden state back. All others take it in. */
const OUTWARD: readonly MatrixType[] = ['out_proj', 'fc_out'];

/**
 * Infers how each tensor is stored, because names do not settle it: GPT-2's own code has Conv1D layers (`in x out`), and
 * nanoGPT stores Linear weights (`out x in`) under the same names.
 *
 * Every matrix has the hidden size on one side, and its type says whether that side is its input or its output. A square
 * matrix does not tell; it follows the others. Where those disagree, only tensors that lie as the family stores them are
 * trusted.
 *
 * @returns by the tensors' names; undefined where shapes and config.json contradict each other (see {@link contradiction}).
 */
export function inferOrientations(
  matrices: readonly LayerMatrix[],
  config: Config,
): ReadonlyMap<string, Orientation | undefined> {
  // Batches of experts are left to the family: some models transpose only those.
  const isTelling = ({ info, certain }: LayerMatrix) =>
    certain === undefined && info.shape.length === 2 && isReadableType(info.dtype);
  const telling = matrices.filter(isTelling);
  const stated = statedHiddenSize(config);
  const hidden = stated ?? commonSide(telling, config);
  const byShape = (matrix: LayerMatrix) => (hidden === undefined ? undefined : toldByShape(matrix, hidden));
  const found = new Set(telling.map(byShape).filter((orientation) => orientation !== undefined));
  const infer = (matrix: LayerMatrix): Orientation | undefined => {
    const { info, usual, certain } = matrix;
    if (!isTelling(matrix)) return certain ?? usual;
    if (found.size === 1) return [...found][0];
    if (found.size > 1) return byShape(matrix) === usual ? usual : undefined;
    return stated === undefined || info.shape.includes(stated) ? usual : undefined;
  };
  return new Map(matrices.map((matrix) => [matrix.info.name, infer(matrix)]));
}

/** Explains why {@link inferOrientations} could not tell how a tensor is stored. */
export function contradiction({ name, shape }: Pick<TensorInfo, 'name' | 'shape'>, config: Config): LowRankError {
  const hidden = hiddenSize(config);
  const why =
    hidden !== undefined && !shape.includes(hidden.value)
      ? `shape ${describe(shape)} has no side of ${hidden.value}, which config.json states as ${hidden.name}`
      : `of shape ${describe(shape)}, in a model that stores some matrices [in, out] and others [out, in]`;
  return new LowRankError('ERR_SHAPE', `${name}: ${why}`, {
    hint: 'Check that config.json belongs to these weights, or say how they are stored: --fan-in-fan-out or --no-fan-in-fan-out (fanInFanOut).',
  });
}

function toldByShape({ info, type, fusion }: LayerMatrix, hidden: number): Orientation | undefined {
  const [m, n] = info.shape as [number, number];
  if (fusion === 'thirds' && m + n !== 4 * hidden) return undefined;
  const [rows, columns] = [m === hidden, n === hidden];
  if (rows === columns) return undefined;
  return rows === OUTWARD.includes(type) ? 'out x in' : 'in x out';
}

/** The one number that is a side of every matrix; undefined where none is, or several are. */
function commonSide(matrices: readonly LayerMatrix[], config: Config): number | undefined {
  let common: readonly number[] | undefined;
  for (const matrix of matrices) {
    const sides = possibleHiddenSizes(matrix);
    common = common === undefined ? [...new Set(sides)] : common.filter((side) => sides.includes(side));
  }
  if (common === undefined || common.length < 2) return common?.[0];
  const inner = quietly(() => innerSize(config));
  const rest = common.filter((side) => side !== inner);
  return rest.length === 1 ? rest[0] : undefined;
}

function possibleHiddenSizes({ info, fusion }: LayerMatrix): readonly number[] {
  if (fusion !== 'thirds' && fusion !== 'interleaved') return info.shape;
  const [smaller, larger] = [Math.min(...info.shape), Math.max(...info.shape)];
  return larger === 3 * smaller ? [smaller] : info.shape;
}

function statedHiddenSize(config: Config): number | undefined {
  return quietly(() => hiddenSize(config));
}

/** A number that is nonsense is no evidence. What needs it, such as a slice, reports it. */
function quietly(read: () => Stated | undefined): number | undefined {
  try {
    return read()?.value;
  } catch {
    return undefined;
  }
}
