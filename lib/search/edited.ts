import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import { applyEdit, decomposeAnew } from '../interventions/apply.js';
import { type Edit, nameOf } from '../interventions/edit.js';
import { kindOf } from '../interventions/kinds/kinds.js';
import { recompose } from '../interventions/recompose.js';
import { readInto, rewrite } from '../interventions/rewrite.js';
import type { Svd } from '../linalg/svd.js';
import { gridOf } from '../tensor/block-slice.js';
import { isFloatDType } from '../tensor/dtype.js';
import { extract, type Grid, scatter } from '../tensor/slice.js';
import { elements } from '../tensor/tensor.js';
import type { Decompositions, Found } from './decompositions.js';
import type { MatrixLine, TrialMatrix } from './log-lines.js';
import type { WorkingCopy } from './working-copy.js';

export interface ApplyOptions {
  readonly seed: number;
  readonly threads: number | undefined;
  /** Told of each decomposition that was not in memory. */
  readonly onMatrix: (line: MatrixLine) => Promise<void>;
}

/**
 * Writes the matrices of a candidate into a working copy.
 *
 * @throws {@link LowRankError} `ERR_NOT_FINITE` for a matrix with a NaN or an infinity, or a result that its type cannot hold;
 * `ERR_UNSUPPORTED` for a slice through quantised blocks. What was written until then is for the caller to roll back.
 */
export async function applyEdits(
  edits: readonly Edit[],
  copy: WorkingCopy,
  checkpoint: Checkpoint,
  decompositions: Decompositions,
  options: ApplyOptions,
): Promise<TrialMatrix[]> {
  const done: TrialMatrix[] = [];
  for (const edit of edits) {
    const { tensor, slice, shape, dtype, rank, uses, identity, intervention } = edit;
    const about = { tensor, slice, shape, rank, ...(uses === undefined ? {} : { uses }) };
    if (identity) {
      done.push({ ...about, relativeError: 0, keptEnergy: 1, smallestError: rank === undefined ? undefined : 0 });
      continue;
    }
    const whole = checkpoint.tensors.get(tensor)!;
    const grid = gridOf(whole.shape, whole.dtype, slice);
    if (grid === undefined) {
      throw new LowRankError('ERR_UNSUPPORTED', `${nameOf(edit)}: this part cuts through the blocks of ${dtype}`);
    }
    const bytes = await copy.read(tensor);
    // A copy, also where it is the whole tensor: the change is measured against what was there.
    const matrix = extract(bytes, grid);
    const { data, smallestError } = await newNumbers(edit, matrix, checkpoint, grid, decompositions, options);
    const change = await rewrite(matrix, data, dtype, {
      // Of a block, no number can be written alone.
      onlyZeros: kindOf(intervention.kind).onlyZeros && isFloatDType(dtype),
    });
    if (!Number.isFinite(change.relativeError)) {
      throw new LowRankError('ERR_NOT_FINITE', `${nameOf(edit)}: the result does not fit into ${dtype}`, {
        hint: 'Convert the checkpoint to BF16 or F32 first.',
      });
    }
    scatter(matrix, bytes, grid);
    await copy.write(tensor, bytes);
    done.push({ ...about, ...change, smallestError });
  }
  return done;
}

async function newNumbers(
  edit: Edit,
  matrix: Uint8Array,
  checkpoint: Checkpoint,
  grid: Grid,
  decompositions: Decompositions,
  { seed, threads, onMatrix }: ApplyOptions,
): Promise<{ data: Float32Array; smallestError: number | undefined }> {
  const { tensor, slice, layer, type, shape, dtype, intervention } = edit;
  const { keeps, isBest } = kindOf(intervention.kind);
  const numbers = async (bytes: Uint8Array) => {
    const data = new Float32Array(elements(shape));
    await readInto(data, bytes, dtype);
    return data;
  };
  if (keeps === undefined) {
    const { data } = await applyEdit(edit, await numbers(matrix), decomposeAnew({}));
    return { data, smallestError: undefined };
  }
  // Of the source, not of the copy: composed interventions act on the weights as they were trained.
  const original = async () => extract(await checkpoint.read(tensor), grid);
  const found = await decompose(nameOf(edit), original, numbers, shape, dtype, decompositions);
  const { svd, from, seconds } = found;
  if (from !== 'memory') {
    const singularValues = [...svd.s.data];
    await onMatrix({
      ...{ line: 'matrix', tensor, slice, layer: layer!, type: type!, shape, singularValues, from, seconds },
    });
  }
  const full = Math.min(...shape.slice(-2));
  const kept = keeps(intervention.amount, full, { seed, matrix: nameOf(edit) });
  return {
    data: await recompose(svd, kept, threads),
    smallestError: isBest ? tailError(svd, kept.length, full) : undefined,
  };
}

async function decompose(
  name: string,
  original: () => Promise<Uint8Array>,
  numbers: (bytes: Uint8Array) => Promise<Float32Array>,
  shape: readonly number[],
  type: string,
  decompositions: Decompositions,
): Promise<Found> {
  try {
    return await decompositions.of(name, type, async () => {
      const bytes = await original();
      return { bytes, w: async () => ({ data: await numbers(bytes), shape }) };
    });
  } catch (error) {
    if (!(error instanceof LowRankError) || error.code !== 'ERR_NOT_FINITE') throw error;
    throw new LowRankError(error.code, `${name}: ${error.message}`, { hint: error.hint, cause: error });
  }
}

/** ||W - W_k||_F / ||W||_F, from the singular values; of a batch over all its matrices. */
function tailError({ s }: Svd, k: number, full: number): number {
  let all = 0;
  let tail = 0;
  s.data.forEach((value, i) => {
    all += value * value;
    if (i % full >= k) tail += value * value;
  });
  return all === 0 ? 0 : Math.sqrt(tail / all);
}
