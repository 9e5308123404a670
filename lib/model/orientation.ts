import type { Orientation, TensorInfo } from '../checkpoint/checkpoint.js';
import { describe, LowRankError } from '../errors.js';
import { isReadableType } from '../tensor/dtype.js';
import type { Fusion } from './families/family.js';
import { type Config, hiddenSize, innerSize, type Stated } from './sizes.js';
import type { MatrixType } from './types.js';

/** The facts about a layer's matrix that show how the model stores its weights. */
export interface LayerMatrix {
  readonly info: Pick<TensorInfo, 'name' | 'shape' | 'dtype'>;
  readonly type: MatrixType;
  /** How it shares its tensor with others; undefined if the tensor is the matrix. */
  readonly fusion: Fusion | undefined;
  /** The orientation that the family uses. */
  readonly usual: Orientation;
  /** The orientation that the file format defines, so that nothing needs to be inferred. */
  readonly certain: Orientation | undefined;
}

/** The matrices whose output is the hidden state. For all others it is the input. */
const OUTWARD: readonly MatrixType[] = ['out_proj', 'cross_out_proj', 'fc_out', 'shared_out'];

/**
 * Infers how each tensor is stored. Names do not decide it: GPT-2's own code has Conv1D layers (`in
 * x out`), and nanoGPT stores Linear weights (`out x in`) under the same names.
 *
 * Every matrix has the hidden size on one side, and its type determines whether that side is its
 * input or its output. A square matrix gives no evidence; it follows the others. If those disagree,
 * only tensors in the family's usual orientation are trusted.
 *
 * @returns orientations by the tensors' names; undefined if shapes and config.json contradict each
 *   other (see {@link contradiction}).
 */
export function inferOrientations(
  matrices: readonly LayerMatrix[],
  config: Config,
): ReadonlyMap<string, Orientation | undefined> {
  // Batches of experts follow the family: some models transpose only those.
  const isTelling = ({ info, certain }: LayerMatrix) =>
    certain === undefined && info.shape.length === 2 && isReadableType(info.dtype);
  const telling = matrices.filter(isTelling);
  const stated = statedHiddenSize(config);
  const hidden = stated ?? commonSide(telling, config);
  const byShape = (matrix: LayerMatrix) => (hidden === undefined ? undefined : orientationByShape(matrix, hidden));
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

/** Explains why {@link inferOrientations} could not determine how a tensor is stored. */
export function contradiction({ name, shape }: Pick<TensorInfo, 'name' | 'shape'>, config: Config): LowRankError {
  const hidden = hiddenSize(config);
  const why =
    hidden !== undefined && !shape.includes(hidden.value)
      ? `shape ${describe(shape)} has no side of ${hidden.value}, the ${hidden.name} of config.json`
      : `of shape ${describe(shape)}, in a model that stores some matrices [in, out] and others [out, in]`;
  return new LowRankError('ERR_SHAPE', `${name}: ${why}`, {
    hint: 'Check that config.json belongs to these weights, or specify how they are stored: --fan-in-fan-out or --no-fan-in-fan-out (fanInFanOut).',
  });
}

function orientationByShape({ info, type, fusion }: LayerMatrix, hidden: number): Orientation | undefined {
  const [m, n] = info.shape as [number, number];
  if (fusion === 'thirds' && m + n !== 4 * hidden) return undefined;
  const [rows, columns] = [m === hidden, n === hidden];
  if (rows === columns) return undefined;
  return rows === OUTWARD.includes(type) ? 'out x in' : 'in x out';
}

/**
 * Returns the one number that is a side of every matrix; undefined if there is none, or several.
 */
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

/**
 * Ignores an invalid number, which is no evidence. Code that needs it, such as a slice, reports it.
 */
function quietly(read: () => Stated | undefined): number | undefined {
  try {
    return read()?.value;
  } catch {
    return undefined;
  }
}
