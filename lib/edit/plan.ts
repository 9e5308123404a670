import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { ArgumentError, describe, LowRankError } from '../errors.js';
import { type Edit, nameOf, tensorChanges } from '../interventions/edit.js';
import { kindOf } from '../interventions/kinds/kinds.js';
import { asInterventions, type Intervention } from '../interventions/spec.js';
import { COMPUTE_OPTIONS, type Method } from '../lowrank/approximate.js';
import { Model } from '../model/model.js';
import { matricesNamed, type Skipped } from '../model/names.js';
import { hintForType } from '../model/not-editable.js';
import { boolean, checkedBelow, listOf, number, type OptionTypes, text, wholeNumber } from '../options.js';
import {
  FLOAT_DTYPES,
  isFloatDType,
  isReadableType,
  isWritableType,
  type ReadableType,
  type WritableType,
} from '../tensor/dtype.js';
import { overlap, sliceShape } from '../tensor/slice.js';
import { chooseSettings, type PredictedMemory, predictMemory, type Settings } from './budget.js';

export type { PredictedMemory, Settings } from './budget.js';

/** What will be done to a checkpoint. */
export interface EditPlan {
  /** The family's name, where one was needed. */
  readonly family: string | undefined;
  /** In the order of the tensors in the checkpoint. */
  readonly edits: readonly Edit[];
  /** For each glob that also matched vectors and the like: what is left alone. */
  readonly skipped: readonly Skipped[];
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

const QUANT_CHOICES = 'Q8_0, F16, BF16 or F32';

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
 * Finds the matrices that the interventions mean and what each will cost, reading none of them.
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

  let model: Model | undefined;
  const modelOf = () => {
    model ??= new Model(checkpoint, options.family);
    return model;
  };
  const skipped: Skipped[] = [];
  const edits = interventions.flatMap((intervention) =>
    targets(checkpoint, intervention, modelOf, skipped).map((target) => edit(checkpoint, intervention, target, quant)),
  );
  rejectMeetings(edits);
  for (const planned of edits) {
    if (!planned.identity) checkUses(checkpoint.tensors.get(planned.tensor)!, planned, options);
  }

  const position = new Map([...checkpoint.tensors.keys()].map((name, index) => [name, index]));
  edits.sort((a, b) => position.get(a.tensor)! - position.get(b.tensor)! || start(a) - start(b));
  // Whether the format can hold the new types, it knows itself.
  checkpoint.layout(tensorChanges(edits));
  const settings = chooseSettings(checkpoint, edits, options);
  return { family: model?.family.name, edits, skipped, memory: predictMemory(checkpoint, edits, settings), settings };
}

type Chosen = Pick<Edit, 'tensor' | 'slice' | 'layer' | 'type'>;

/** @param skipped - is added what a glob matched in vain */
function targets(
  checkpoint: Checkpoint,
  { select }: Intervention,
  modelOf: () => Model,
  skipped: Skipped[],
): readonly Chosen[] {
  if (!('glob' in select)) {
    return select.types.every((type) => type === 'dont') ? [] : modelOf().select(select.layers, select.types);
  }
  const found = matricesNamed(checkpoint, select.glob);
  if (found.skipped !== undefined) skipped.push(found.skipped);
  return found.matrices.map(({ name }) => ({ tensor: name, slice: undefined, layer: undefined, type: undefined }));
}

function edit(
  checkpoint: Checkpoint,
  intervention: Intervention,
  chosen: Chosen,
  quant: WritableType | undefined,
): Edit {
  const info = checkpoint.tensors.get(chosen.tensor)!;
  const dtype = editableType(info, intervention);
  const shape = sliceShape(info.shape, chosen.slice);
  const [m, n] = shape.slice(-2) as [number, number];
  const { kind, amount } = intervention;
  const { rank, threshold, identity } = kindOf(kind).resolve(amount, [m, n]);
  const writtenAs = identity ? dtype : typeWritten(info, dtype, intervention, quant);
  const uses = info.users === undefined ? {} : { uses: info.users.length };
  return { ...chosen, shape, dtype, writtenAs, intervention, rank, threshold, ...uses, identity };
}

/** So many users of a tensor are named in messages. */
const MAX_USERS = 4;

/** A weight that several places use changes for all of them: that must be meant, and mean the same for each. */
function checkUses({ name, users, orientation }: TensorInfo, edit: Edit, { shared }: PlanOptions): void {
  if (users === undefined) return;
  if (!shared) {
    const listed = users.slice(0, MAX_USERS).map(describe).join(', ');
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      `${name}: ${users.length} places use it, and an edit would change all of them: ${listed}${users.length > MAX_USERS ? ', ...' : ''}`,
      {
        hint: 'Edit it for all of them with --shared (shared: true), or export the model with a weight for each use.',
      },
    );
  }
  if (edit.slice === undefined || orientation !== undefined) return;
  throw new LowRankError(
    'ERR_UNSUPPORTED',
    `${nameOf(edit)}: ${users.length} places use the tensor, not all the same way round, so that a part of it is not the same for all`,
    { hint: 'Edit the whole tensor, by its name with --tensor.' },
  );
}

function editableType({ name, dtype, shape }: TensorInfo, { spec }: Intervention): ReadableType {
  if (shape.length !== 2 && shape.length !== 3) {
    throw new LowRankError(
      'ERR_SHAPE',
      `${name}: shape ${describe(shape)} is neither a matrix nor a batch of matrices (chosen by ${describe(spec)})`,
      { hint: 'Choose fewer tensors.' },
    );
  }
  if (shape.includes(0)) throw new LowRankError('ERR_SHAPE', `${name}: shape ${describe(shape)} holds no numbers`);
  if (!isReadableType(dtype)) {
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      `${name}: dtype ${dtype} cannot be edited, only ${FLOAT_DTYPES.join(', ')} (chosen by ${describe(spec)})`,
      { hint: hintForType(dtype) },
    );
  }
  return dtype;
}

/** Floats stay what they are. A quantised tensor cannot take new numbers as it is, and what it becomes is the user's choice. */
function typeWritten(
  { name }: TensorInfo,
  dtype: ReadableType,
  { spec }: Intervention,
  quant: WritableType | undefined,
): WritableType {
  if (isFloatDType(dtype)) return dtype;
  if (quant !== undefined) return quant;
  throw new LowRankError(
    'ERR_UNSUPPORTED',
    `${name}: is stored as ${dtype}, and what the edited tensor becomes is not said (chosen by ${describe(spec)})`,
    { hint: `Choose with --quant (quant: ...): ${QUANT_CHOICES}; Q8_0 is the smallest, F32 the most precise.` },
  );
}

function rejectMeetings(edits: readonly Edit[]): void {
  const seen = new Map<string, Edit[]>();
  for (const later of edits) {
    const earlier = seen.get(later.tensor) ?? [];
    const met = earlier.find((other) => overlap(other.slice, later.slice));
    if (met !== undefined) {
      const [first, second] = [met.intervention.spec, later.intervention.spec].map(describe);
      throw new LowRankError(
        'ERR_ARGUMENT',
        first === second
          ? `${nameOf(later)}: chosen twice by ${first}`
          : `${nameOf(later)}: chosen twice, by ${first} and by ${second}`,
        { hint: 'Interventions compose on different matrices: let each matrix be named once.' },
      );
    }
    seen.set(later.tensor, [...earlier, later]);
  }
}

function start({ slice }: Edit): number {
  return slice?.ranges[0]?.[0] ?? 0;
}
