import type { Checkpoint, CheckpointWriter } from '../checkpoint/checkpoint.js';
import { open } from '../checkpoint/open.js';
import { copyForEdit } from '../checkpoint/write.js';
import { LowRankError } from '../errors.js';
import type { ComputeOptions } from '../lowrank/approximate.js';
import type { Certificate } from '../lowrank/certificate.js';
import { memoryUsage } from '../memory/usage.js';
import { extract, type Slice, scatter } from '../model/slice.js';
import { DTYPE_BITS, type FloatDType } from '../tensor/dtype.js';
import { elements } from '../tensor/tensor.js';
import { intervene } from './interventions.js';
import {
  type Edit,
  type EditPlan,
  nameOf,
  numbersToHold,
  type PlanOptions,
  type PredictedMemory,
  planEdits,
} from './plan.js';
import { type EditProgress, Progress } from './progress.js';
import { type Change, readInto, rewrite } from './rewrite.js';
import type { InterventionKind } from './spec.js';

export interface EditOptions extends PlanOptions, Pick<ComputeOptions, 'signal'> {
  readonly onProgress?: (progress: EditProgress) => void;
}

/** What was done to one matrix, or to all matrices of one 3D tensor. */
export interface EditedMatrix {
  readonly tensor: string;
  /** Undefined for the whole tensor. */
  readonly slice: Slice | undefined;
  /** Undefined where the tensor was chosen by name. */
  readonly layer: number | undefined;
  readonly type: string | undefined;
  /** `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  readonly dtype: FloatDType;
  readonly intervention: InterventionKind;
  /** The intervention as it was written. */
  readonly spec: string;
  /** Undefined unless the rank was reduced. */
  readonly rank: number | undefined;
  /** `rank / min(m, n)`; undefined unless the rank was reduced. */
  readonly rankFraction: number | undefined;
  /** ||What||_F^2 / ||W||_F^2, for a rank reduction the share of squared singular values kept. */
  readonly keptEnergy: number;
  /** ||W - What||_F / ||W||_F of what was written, after rounding to `dtype`, measured in float64. */
  readonly relativeError: number;
  /** What the decomposition says of itself before rounding, of a batch for all of it; undefined where none was computed. */
  readonly certificate: Certificate | undefined;
  /** One for each matrix of a batch; undefined for a single matrix. */
  readonly certificates: readonly Certificate[] | undefined;
  readonly seconds: number;
}

/** What was done to a checkpoint. */
export interface EditReport {
  readonly source: string;
  readonly out: string;
  readonly family: string | undefined;
  readonly edits: readonly EditedMatrix[];
  readonly memory: {
    readonly predicted: PredictedMemory;
    /** In bytes, of the whole process since it began, and of the native buffers alone. */
    readonly measured: { readonly peakRss: number; readonly nativePeak: number };
  };
  readonly seconds: number;
}

/**
 * What {@link editCheckpoint} would do, without reading or writing a tensor.
 *
 * @throws {@link ArgumentError} without interventions, or when two of them meet on a matrix; {@link LowRankError}
 * `ERR_NOT_FOUND` for a layer, type or name that the checkpoint lacks, `ERR_UNSUPPORTED` for an unknown family or a dtype
 * that is no float, `ERR_SHAPE` for a tensor that is neither a matrix nor a batch of them; as {@link openCheckpoint} does.
 */
export async function planCheckpoint(source: string, options: PlanOptions): Promise<EditPlan> {
  const checkpoint = await open(source);
  try {
    return planEdits(checkpoint, options);
  } finally {
    await checkpoint.close();
  }
}

/**
 * Edits some matrices of a checkpoint and writes the result, whole, to `out`; the source is never modified. One tensor is
 * held at a time. Bytes of tensors, and of parts of tensors, that no intervention names are the source's; so are those of
 * a matrix that keeps its full rank. The same call gives the same bytes.
 *
 * An abort is honoured between tensors, and inside one where its method can. On any failure nothing is left at `out`.
 *
 * @param source a folder or a file
 * @param out must not exist
 * @throws as {@link planCheckpoint}; `ERR_NOT_FINITE` naming the tensor with a NaN or an infinity, also where a result does not
 * fit into the file's dtype; `ERR_CHECKPOINT_IO`, `ERR_CHECKPOINT_FORMAT` and `ERR_OUTPUT` from reading and writing;
 * the signal's reason when aborted.
 */
export async function editCheckpoint(source: string, out: string, options: EditOptions): Promise<EditReport> {
  const { signal } = options;
  signal?.throwIfAborted();
  const checkpoint = await open(source);
  try {
    const plan = planEdits(checkpoint, options);
    const progress = new Progress(plan.edits.map(bytesOf), options.onProgress);
    progress.phase('copy');
    const writer = await copyForEdit(checkpoint, out, { signal });
    const edits: EditedMatrix[] = [];
    try {
      // One for all tensors: V8 frees large arrays late, and a job's memory would be several tensors' otherwise.
      const work = new Float32Array(numbersToHold(plan.edits));
      for (const group of byTensor(plan.edits)) {
        signal?.throwIfAborted();
        edits.push(...(await editTensor(checkpoint, writer, group, work, options, progress)));
      }
      signal?.throwIfAborted();
      progress.phase('commit');
      await writer.commit();
    } catch (error) {
      // The first failure is the one to report; removing what was written can only fail for the same reason.
      await writer.discard().catch(() => undefined);
      throw error;
    }
    const { process, native } = memoryUsage();
    return {
      source: checkpoint.path,
      out,
      family: plan.family,
      edits,
      memory: { predicted: plan.memory, measured: { peakRss: process.peakRss, nativePeak: native.peak } },
      seconds: progress.seconds,
    };
  } finally {
    await checkpoint.close();
  }
}

/** Reads a tensor, edits its slices one after another, and writes it back. */
async function editTensor(
  checkpoint: Checkpoint,
  writer: CheckpointWriter,
  edits: readonly Edit[],
  work: Float32Array,
  options: EditOptions,
  progress: Progress,
): Promise<EditedMatrix[]> {
  const { tensor } = edits[0]!;
  const { shape } = checkpoint.tensors.get(tensor)!;
  const changing = edits.some(({ identity }) => !identity);
  const bytes = changing ? await checkpoint.read(tensor) : new Uint8Array();
  const done: EditedMatrix[] = [];
  for (const edit of edits) {
    options.signal?.throwIfAborted();
    const started = performance.now();
    progress.working(nameOf(edit), bytesOf(edit), 0);
    if (edit.identity) {
      done.push(describeEdit(edit, { relativeError: 0, keptEnergy: 1 }, undefined, 0));
    } else {
      const itemBytes = DTYPE_BITS[edit.dtype] / 8;
      const matrix = extract(bytes, shape, edit.slice, itemBytes);
      const { change, certified } = await editMatrix(edit, matrix, work, options, progress);
      scatter(matrix, bytes, shape, edit.slice, itemBytes);
      done.push(describeEdit(edit, change, certified, (performance.now() - started) / 1000));
    }
    progress.finished(nameOf(edit), bytesOf(edit));
  }
  if (changing) await writer.write(tensor, bytes);
  return done;
}

/** Edits a matrix in place. `work` has room for its numbers. */
async function editMatrix(
  edit: Edit,
  bytes: Uint8Array,
  work: Float32Array,
  { method, seed, threads, signal }: EditOptions,
  progress: Progress,
) {
  const numbers = work.subarray(0, elements(edit.shape));
  readInto(numbers, bytes, edit.dtype);
  rejectNotFinite(edit, numbers);
  const { data, certified } = await intervene(edit, numbers, {
    method,
    seed,
    threads,
    signal,
    onProgress: (share) => progress.working(nameOf(edit), bytesOf(edit), share),
  });
  const change = rewrite(bytes, data, edit.dtype, edit.intervention.kind === 'dropout');
  if (Number.isFinite(change.relativeError)) return { change, certified };
  throw new LowRankError('ERR_NOT_FINITE', `${nameOf(edit)}: the result does not fit into ${edit.dtype}`, {
    hint: 'Convert the checkpoint to BF16 or F32 first.',
  });
}

function rejectNotFinite(edit: Edit, data: Float32Array): void {
  let index = 0;
  while (index < data.length && Number.isFinite(data[index])) index++;
  if (index === data.length) return;
  const place = edit.shape.map((_, axis) => {
    const stride = elements(edit.shape.slice(axis + 1));
    return Math.floor(index / stride) % edit.shape[axis]!;
  });
  throw new LowRankError('ERR_NOT_FINITE', `${nameOf(edit)}: ${data[index]} at [${place.join(', ')}]`, {
    hint: 'The checkpoint is damaged or was trained to divergence: there is no meaningful approximation of it.',
  });
}

function describeEdit(
  edit: Edit,
  change: Change,
  certified: Awaited<ReturnType<typeof intervene>>['certified'],
  seconds: number,
): EditedMatrix {
  const { tensor, slice, layer, type, shape, dtype, rank, intervention } = edit;
  const [m, n] = shape.slice(-2) as [number, number];
  return {
    tensor,
    slice,
    layer,
    type,
    shape,
    dtype,
    intervention: intervention.kind,
    spec: intervention.spec,
    rank,
    rankFraction: rank === undefined ? undefined : rank / Math.min(m, n),
    keptEnergy: certified?.certificate.keptEnergy ?? change.keptEnergy,
    relativeError: change.relativeError,
    certificate: certified?.certificate,
    certificates: shape.length === 3 ? certified?.certificates : undefined,
    seconds,
  };
}

function byTensor(edits: readonly Edit[]): Iterable<readonly Edit[]> {
  const groups = new Map<string, Edit[]>();
  for (const edit of edits) {
    const group = groups.get(edit.tensor);
    if (group === undefined) groups.set(edit.tensor, [edit]);
    else group.push(edit);
  }
  return groups.values();
}

function bytesOf({ shape, dtype }: Edit): number {
  return (elements(shape) * DTYPE_BITS[dtype]) / 8;
}
