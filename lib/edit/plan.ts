import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { requireStorable } from '../checkpoint/layout.js';
import { ArgumentError } from '../errors.js';
import { type Edit, tensorChanges } from '../interventions/edit.js';
import { asInterventions, type Intervention } from '../interventions/spec.js';
import { COMPUTE_OPTIONS, type Method } from '../lowrank/approximate.js';
import type { SkippedTensors } from '../model/names.js';
import { QUANT, QUANT_CHOICES } from '../model/new-type.js';
import { boolean, checkedBelow, listOf, number, type OptionTypes, text, wholeNumber } from '../options.js';
import { isWritableType, type WritableType } from '../tensor/dtype.js';
import { checkUses, settleAmount } from './amounts.js';
import { chooseSettings, type PredictedMemory, predictMemory, type Settings } from './budget.js';
import { rejectMeetings, selectMatrices } from './select.js';

export type { PredictedMemory, Settings } from './budget.js';

/** The planned edit of a checkpoint. */
export interface EditPlan {
  /** The family's name, if one was needed. */
  readonly family: string | undefined;
  /** In the order of the tensors in the checkpoint. */
  readonly edits: readonly Edit[];
  /** Tensors that a glob matched but that are left unchanged, because they are not matrices. */
  readonly skipped: readonly SkippedTensors[];
  readonly memory: PredictedMemory;
  /** How it will be computed; if memory is limited, chosen so that it is enough. */
  readonly settings: Settings;
}

/** The options that determine a plan. */
export interface PlanOptions {
  /**
   * Composed: each applies to the source's weight, and no two may overlap on a matrix. A string is
   * `layers:types:amount`, a rank reduction, as {@link parseAt} reads it.
   */
  readonly interventions: readonly (Intervention | string)[];
  /** The model's family, if config.json does not name it or is to be overridden. */
  readonly family?: string;
  /** How the decomposition is computed; `auto` by default. */
  readonly method?: Method;
  /**
   * The seed of the random start of `krylov`, and of the kind `random`: 0 by default. The same seed
   * and threads give the same bytes.
   */
  readonly seed?: number;
  /** Threads of the linear algebra; by default as many as there are cores. */
  readonly threads?: number;
  /**
   * The most bytes that the process may hold. Methods, threads and whether reading, computing and
   * writing overlap are chosen so that the job fits, or it is refused before it starts.
   */
  readonly maxMemory?: number;
  /**
   * The type in which edited tensors are written that are stored in a quantised type. Without it,
   * editing them is refused.
   */
  readonly quant?: WritableType;
  /**
   * Also edits a weight that several places of an ONNX graph use, for all of them: one layer that
   * is applied many times, or tied embeddings. Without it, such an edit is refused.
   */
  readonly shared?: boolean;
  /**
   * Also edits tensors of more than two dimensions that are selected by name, as matrices of their
   * first dimension and all others: a convolution's weight [out, in, h, w] as [out, in h w].
   * Without it, three dimensions are a batch of matrices, and more are refused.
   */
  readonly flatten?: boolean;
}

export const PLAN_OPTIONS: OptionTypes<PlanOptions> = {
  interventions: listOf(checkedBelow()),
  family: text,
  method: COMPUTE_OPTIONS.method,
  seed: wholeNumber(0),
  threads: wholeNumber(1),
  maxMemory: number,
  quant: QUANT,
  shared: boolean,
  flatten: boolean,
};

/**
 * Plans a job in three steps: selects the matrices that the interventions name, settles the edit of
 * each, and decides how to compute them within the memory. Reads none of them.
 *
 * @throws {@link ArgumentError} without interventions, or if two of them overlap on a matrix;
 *   {@link LowRankError} `ERR_NOT_FOUND` for a layer, type or name that the checkpoint lacks,
 *   `ERR_UNSUPPORTED` for an unknown family, a dtype that is not a float or, without `quant`, a
 *   quantised one, and, without `shared`, a weight that several places use; `ERR_SHAPE` for a
 *   tensor that is neither a matrix nor a batch of them, selected by its exact name, and for a glob
 *   that matches only such tensors; `ERR_MEMORY` if `maxMemory` is not enough, with a sufficient
 *   number.
 */
export function planEdits(checkpoint: Checkpoint, options: PlanOptions): EditPlan {
  const { quant, shared } = options;
  if (shared !== undefined && typeof shared !== 'boolean') throw new ArgumentError('shared', 'true or false', shared);
  if (quant !== undefined && !isWritableType(quant)) throw new ArgumentError('quant', QUANT_CHOICES, quant);
  const interventions = asInterventions(options.interventions);
  if (interventions.length === 0) throw new ArgumentError('interventions', 'at least one', interventions);

  const { family, matrices, skipped } = selectMatrices(checkpoint, interventions, options);
  const edits = matrices.map((matrix) =>
    settleAmount(checkpoint.tensors.get(matrix.tensor)!, matrix, matrix.intervention.amount, quant),
  );
  rejectMeetings(matrices);
  for (const edit of edits) checkUses(checkpoint.tensors.get(edit.tensor)!, edit, shared);

  const position = new Map([...checkpoint.tensors.keys()].map((name, index) => [name, index]));
  edits.sort((a, b) => position.get(a.tensor)! - position.get(b.tensor)! || start(a) - start(b));
  requireStorable(checkpoint, tensorChanges(edits));
  const settings = chooseSettings(checkpoint, edits, options);
  return { family, edits, skipped, memory: predictMemory(checkpoint, edits, settings, options.maxMemory), settings };
}

function start({ slice }: Edit): number {
  return slice?.ranges[0]?.[0] ?? 0;
}
