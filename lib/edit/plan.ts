import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { ArgumentError, describe, LowRankError } from '../errors.js';
import type { Method } from '../lowrank/approximate.js';
import { estimateMemory } from '../lowrank/estimate.js';
import { rankOfFraction, rankOfRate } from '../lowrank/rank.js';
import { memoryUsage } from '../memory/usage.js';
import { Model } from '../model/model.js';
import { tensorsNamed } from '../model/names.js';
import { describeSlice, overlap, type Slice, sliceShape } from '../model/slice.js';
import type { GroupType, MatrixType } from '../model/types.js';
import { DTYPE_BITS, FLOAT_DTYPES, type FloatDType, isFloatDType } from '../tensor/dtype.js';
import { elements } from '../tensor/tensor.js';
import { thresholdIndex } from './prune.js';
import { type Intervention, parseAt } from './spec.js';

/** One intervention on one matrix, or on all matrices of one 3D tensor. */
export interface Edit {
  readonly tensor: string;
  /** Undefined for the whole tensor. */
  readonly slice: Slice | undefined;
  /** Undefined where the tensor was chosen by name. */
  readonly layer: number | undefined;
  /** Undefined where the tensor was chosen by name. */
  readonly type: MatrixType | GroupType | undefined;
  /** Of what is edited: `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  readonly dtype: FloatDType;
  readonly intervention: Intervention;
  /** How many singular values stay, of min(m, n); undefined unless the intervention reduces the rank. */
  readonly rank: number | undefined;
  /** Where the pruning threshold stands (see `thresholdIndex`); undefined where nothing is pruned. */
  readonly threshold: number | undefined;
  /** True where all is kept, so that the tensor's bytes stay as they are. */
  readonly identity: boolean;
}

/** Bytes a job will need at the tensor that needs most. */
export interface PredictedMemory {
  /** The tensor, the one before it, which V8 frees when it likes, and the float32 numbers of the largest matrix. */
  readonly buffers: number;
  /** The decomposition and LAPACK's workspaces. */
  readonly native: number;
  /** Both, what the process holds already, and what V8 and OpenBLAS take on the way. */
  readonly total: number;
}

/** What will be done to a checkpoint. */
export interface EditPlan {
  /** The family's name, where one was needed. */
  readonly family: string | undefined;
  /** In the order of the tensors in the checkpoint. */
  readonly edits: readonly Edit[];
  readonly memory: PredictedMemory;
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
  /** Of the random start of `krylov`: 0 by default. The same seed and threads give the same bytes. */
  readonly seed?: number;
  /** Threads of the linear algebra; by default as many as there are cores. */
  readonly threads?: number;
}

/**
 * Finds the matrices that the interventions mean and what each will cost, reading none of them.
 *
 * @throws {@link ArgumentError} without interventions, or when two of them meet on a matrix; {@link LowRankError}
 * `ERR_NOT_FOUND` for a layer, type or name that the checkpoint lacks, `ERR_UNSUPPORTED` for an unknown family or a dtype
 * that is no float, `ERR_SHAPE` for a tensor that is neither a matrix nor a batch of them.
 */
export function planEdits(checkpoint: Checkpoint, options: PlanOptions): EditPlan {
  const interventions = options.interventions.map((item) => (typeof item === 'string' ? parseAt(item) : item));
  if (interventions.length === 0) throw new ArgumentError('interventions', 'at least one', interventions);

  let model: Model | undefined;
  const modelOf = () => {
    model ??= new Model(checkpoint, options.family);
    return model;
  };
  const edits = interventions.flatMap((intervention) =>
    targets(checkpoint, intervention, modelOf).map((target) => edit(checkpoint, intervention, target)),
  );
  rejectMeetings(edits);

  const position = new Map([...checkpoint.tensors.keys()].map((name, index) => [name, index]));
  edits.sort((a, b) => position.get(a.tensor)! - position.get(b.tensor)! || start(a) - start(b));
  return { family: model?.family.name, edits, memory: predict(checkpoint, edits, options) };
}

/** How many numbers the largest matrix, or batch, has that is changed. */
export function numbersToHold(edits: readonly Edit[]): number {
  return edits.reduce((most, { shape, identity }) => (identity ? most : Math.max(most, elements(shape))), 0);
}

/** The edit's matrix in words, for messages and tables. */
export function nameOf({ tensor, slice }: Pick<Edit, 'tensor' | 'slice'>): string {
  return slice === undefined ? tensor : `${tensor} [${describeSlice(slice)}]`;
}

type Chosen = Pick<Edit, 'tensor' | 'slice' | 'layer' | 'type'>;

function targets(checkpoint: Checkpoint, { select }: Intervention, modelOf: () => Model): readonly Chosen[] {
  if (!('glob' in select)) {
    return select.types.every((type) => type === 'dont') ? [] : modelOf().select(select.layers, select.types);
  }
  return tensorsNamed(checkpoint, select.glob).map(({ name }) => ({
    tensor: name,
    slice: undefined,
    layer: undefined,
    type: undefined,
  }));
}

function edit(checkpoint: Checkpoint, intervention: Intervention, chosen: Chosen): Edit {
  const info = checkpoint.tensors.get(chosen.tensor)!;
  const dtype = editableDtype(info, intervention);
  const shape = sliceShape(info.shape, chosen.slice);
  const [m, n] = shape.slice(-2) as [number, number];
  const rank = intervention.kind === 'rank-reduction' ? rankOf(intervention, Math.min(m, n)) : undefined;
  const threshold = intervention.kind === 'dropout' ? thresholdIndex(intervention.amount, m * n) : undefined;
  return {
    ...chosen,
    shape,
    dtype,
    intervention,
    rank,
    threshold,
    identity: rank === Math.min(m, n) || (intervention.kind === 'dropout' && threshold === undefined),
  };
}

function editableDtype({ name, dtype, shape }: TensorInfo, { spec }: Intervention): FloatDType {
  if (shape.length !== 2 && shape.length !== 3) {
    throw new LowRankError(
      'ERR_SHAPE',
      `${name}: shape ${describe(shape)} is neither a matrix nor a batch of matrices (chosen by ${describe(spec)})`,
      { hint: 'Choose fewer tensors.' },
    );
  }
  if (shape.includes(0)) throw new LowRankError('ERR_SHAPE', `${name}: shape ${describe(shape)} holds no numbers`);
  if (!isFloatDType(dtype)) {
    throw new LowRankError(
      'ERR_UNSUPPORTED',
      `${name}: dtype ${dtype} cannot be edited, only ${FLOAT_DTYPES.join(', ')} (chosen by ${describe(spec)})`,
      { hint: 'Start from a checkpoint that is not quantised.' },
    );
  }
  return dtype;
}

function rankOf({ amount }: Intervention, full: number): number {
  return 'rate' in amount ? rankOfRate(amount.rate, full) : rankOfFraction(amount.rankFraction, full);
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

/** V8 collects arrays when those outside of its heap have grown by this much (its kExternalAllocationSoftLimit). */
const LATE_BYTES = 64 * 2 ** 20;
/** What compiled code, V8's heap and OpenBLAS's own buffers grow by in a small job; measured. */
const RUNTIME_BYTES = 8 * 2 ** 20;

function predict(checkpoint: Checkpoint, edits: readonly Edit[], options: PlanOptions): PredictedMemory {
  const work = 4 * numbersToHold(edits);
  let peak = { buffers: work, native: 0 };
  let before = 0;
  for (const { tensor, slice, shape, dtype, rank, identity } of edits) {
    if (identity) continue;
    const sliced = slice === undefined ? 0 : (elements(shape) * DTYPE_BITS[dtype]) / 8;
    const held = checkpoint.tensors.get(tensor)!.bytes + sliced;
    // Pruning sorts a copy of each matrix.
    const native = rank === undefined ? elements(shape.slice(-2)) * 4 : nativeBytes(shape, rank, options);
    const buffers = work + held + before;
    if (buffers + native > peak.buffers + peak.native) peak = { buffers, native };
    before = held;
  }
  const passing = 4 * edits.reduce((sum, { shape, identity }) => (identity ? sum : sum + elements(shape)), 0);
  const total = memoryUsage().process.rss + peak.buffers + peak.native + Math.min(passing, LATE_BYTES) + RUNTIME_BYTES;
  return { ...peak, total };
}

function nativeBytes(shape: readonly number[], rank: number, { method, threads }: PlanOptions): number {
  return estimateMemory(shape, { rank, method, threads, result: 'in place' }).total;
}

function start({ slice }: Edit): number {
  return slice?.ranges[0]?.[0] ?? 0;
}
