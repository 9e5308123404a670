import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { ArgumentError } from '../errors.js';
import { type Edit, tensorChanges } from '../interventions/edit.js';
import { asInterventions, type Intervention } from '../interventions/spec.js';
import { COMPUTE_OPTIONS, type Method } from '../lowrank/approximate.js';
import type { SkippedTensors } from '../model/names.js';
import { boolean, checkedBelow, listOf, number, type OptionTypes, text, wholeNumber } from '../options.js';
import { isWritableType, type WritableType } from '../tensor/dtype.js';
import { checkUses, QUANT_CHOICES, settleAmount } from './amounts.js';
import { chooseSettings, type PredictedMemory, predictMemory, type Settings } from './budget.js';
import { rejectMeetings, selectMatrices } from './select.js';

export type { PredictedMemory, Settings } from './budget.js';

/** What will be done to a checkpoint. */
export interface EditPlan {
  /** The family's name, where one was needed. */
  readonly family: string | undefined;
  /** In the order of the tensors in the checkpoint. */
  readonly edits: readonly Edit[];
  /** For each glob that also matched vectors and the like: what is left alone. */
  readonly skipped: readonly SkippedTensors[];
  readonly memory: PredictedMemory;
  /** How it will be computed; where memory is limited, chosen so that it is enough. */
  readonly settings: Settings;
}

/** What decides a plan. */
export interface PlanOptions {
  /**
   * Composed: each acts on the weight as it is in the source, and none may meet another on the same matrix. A string is
   * `layers:types:rho`, a rank reduction.
   */
  readonly interventions: readonly (Intervention | string)[];
  /** The model's family by name, where config.json does not tell it or is to be overruled. */
  readonly family?: string;
  /** How the decomposition is computed. Default `auto`. */
  readonly method?: Method;
  /** Of the random start of `krylov`, and of the kind `random`: 0 by default. The same seed and threads give the same bytes. */
  readonly seed?: number;
  /** Threads of the linear algebra; by default as many as there are cores. */
  readonly threads?: number;
  /**
   * Bytes that the process may hold at most. Methods, threads and whether reading, computing and writing overlap are
   * chosen so that the job fits, or it is refused before it begins.
   */
  readonly maxMemory?: number;
  /** What edited tensors become that are stored in a quantised type. Without it, editing them is refused. */
  readonly quant?: WritableType;
  /**
   * Also edits a weight that several places of an ONNX graph use, for all of them: one layer that is applied many times, or
   * tied embeddings. Without it, such an edit is refused.
   */
  readonly shared?: boolean;
}

export const PLAN_OPTIONS: OptionTypes<PlanOptions> = {
  interventions: listOf(checkedBelow()),
  family: text,
  method: COMPUTE_OPTIONS.method,
  seed: wholeNumber(0),
  threads: wholeNumber(1),
  maxMemory: number,
  quant: {
    expected: QUANT_CHOICES,
    is: (value): value is WritableType => typeof value === 'string' && isWritableType(value),
  },
  shared: boolean,
};

/**
 * Plans a job in three steps: selects the matrices that the interventions mean, settles what becomes of each, and how they
 * are computed within the memory. Reads none of them.
 *
 * @throws {@link ArgumentError} without interventions, or when two of them meet on a matrix; {@link LowRankError}
 * `ERR_NOT_FOUND` for a layer, type or name that the checkpoint lacks, `ERR_UNSUPPORTED` for an unknown family, a dtype
 * that is no float or, without `quant`, a quantised one, and, without `shared`, a weight that several places use;
 * `ERR_SHAPE` for a tensor that is neither a matrix nor a batch of them, called by its exact name, and for a glob that
 * matches only such; `ERR_MEMORY` when `maxMemory` is not enough, with the number that is.
 */
export function planEdits(checkpoint: Checkpoint, options: PlanOptions): EditPlan {
  const { quant, shared } = options;
  if (shared !== undefined && typeof shared !== 'boolean') throw new ArgumentError('shared', 'true or false', shared);
  if (quant !== undefined && !isWritableType(quant)) throw new ArgumentError('quant', QUANT_CHOICES, quant);
  const interventions = asInterventions(options.interventions);
  if (interventions.length === 0) throw new ArgumentError('interventions', 'at least one', interventions);

  const { family, matrices, skipped } = selectMatrices(checkpoint, interventions, options.family);
  const edits = matrices.map((matrix) =>
    settleAmount(checkpoint.tensors.get(matrix.tensor)!, matrix, matrix.intervention.amount, quant),
  );
  rejectMeetings(matrices);
  for (const edit of edits) checkUses(checkpoint.tensors.get(edit.tensor)!, edit, shared);

  const position = new Map([...checkpoint.tensors.keys()].map((name, index) => [name, index]));
  edits.sort((a, b) => position.get(a.tensor)! - position.get(b.tensor)! || start(a) - start(b));
  // Whether the format can hold the new types, it knows itself.
  checkpoint.layout(tensorChanges(edits));
  const settings = chooseSettings(checkpoint, edits, options);
  return { family, edits, skipped, memory: predictMemory(checkpoint, edits, settings), settings };
}

function start({ slice }: Edit): number {
  return slice?.ranges[0]?.[0] ?? 0;
}
