import type { TensorInfo } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import { applyEdit, DAMAGED } from '../interventions/apply.js';
import { type Edit, nameOf, needsWhole, writtenAs } from '../interventions/edit.js';
import type { Certificates, Decomposer } from '../interventions/kinds/kind.js';
import { type InterventionKind, kindOf } from '../interventions/kinds/kinds.js';
import { compare, type Difference, readInto, rewrite } from '../interventions/rewrite.js';
import type { Certificate } from '../lowrank/certificate.js';
import { gridOf, storedBytes } from '../tensor/block-slice.js';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import { isFloatDType, type ReadableType, type WritableType } from '../tensor/dtype.js';
import { extract, type Slice, scatter } from '../tensor/slice.js';
import { elements } from '../tensor/tensor.js';

/** The edit of one matrix, or of all matrices of one 3D tensor. */
export interface EditedMatrix {
  readonly tensor: string;
  /** Undefined for the whole tensor. */
  readonly slice: Slice | undefined;
  /** Undefined if the tensor was selected by name. */
  readonly layer: number | undefined;
  readonly type: string | undefined;
  /** `[m, n]` or `[batch, m, n]`. */
  readonly shape: readonly number[];
  /** The type in the source. */
  readonly dtype: ReadableType;
  /** The type in the result. */
  readonly writtenAs: WritableType | ReadableType;
  readonly intervention: InterventionKind;
  /** The user's text of the intervention. */
  readonly spec: string;
  /** Undefined unless the rank was reduced; of a batch whose energy was chosen, the largest. */
  readonly rank: number | undefined;
  /** `rank / min(m, n)`; undefined unless the rank was reduced. */
  readonly rankFraction: number | undefined;
  /** ||What||_F^2 / ||W||_F^2; for a rank reduction the share of squared singular values kept. */
  readonly keptEnergy: number;
  /** ||W - What||_F / ||W||_F as written, after rounding to `writtenAs`, measured in float64. */
  readonly relativeError: number;
  /**
   * The certificate of the decomposition before rounding, for a batch that of the whole; undefined
   * if none was computed.
   */
  readonly certificate: Certificate | undefined;
  /** One for each matrix of a batch; undefined for a single matrix. */
  readonly certificates: readonly Certificate[] | undefined;
  /**
   * The number of places in the model that use the tensor; left out if the file does not show it,
   * or if it is one.
   */
  readonly uses?: number;
  readonly seconds: number;
}

/** How the matrices of a tensor are computed, and how progress is reported. */
export interface EditContext {
  /** Room for the numbers of the largest matrix; overwritten. */
  readonly work: Float32Array;
  /** Returns the decomposer of one edit of the tensor. */
  readonly decomposer: (edit: Edit) => Decomposer;
  readonly started: (edit: Edit) => void;
  readonly finished: (edit: Edit) => void;
}

/**
 * Edits the slices of a tensor one after another.
 *
 * @param bytes the tensor as it is stored; overwritten if the type does not change
 * @returns the tensor to write
 */
export async function editTensor(
  { shape, dtype }: TensorInfo,
  bytes: Uint8Array,
  edits: readonly Edit[],
  context: EditContext,
): Promise<{ bytes: Uint8Array; edited: EditedMatrix[] }> {
  if (needsWhole(shape, edits)) return editWhole(shape, bytes, edits, context);
  const as = writtenAs(edits);
  const result = as === dtype ? bytes : new Uint8Array(storedBytes(elements(shape), as));
  const edited: EditedMatrix[] = [];
  for (const edit of edits) {
    context.started(edit);
    const begin = performance.now();
    if (edit.identity) edited.push(unchanged(edit));
    else {
      const { change, certified } = await named(edit, async () => {
        const grid = gridOf(shape, edit.dtype, edit.slice)!;
        const matrix = extract(bytes, grid);
        const numbers = context.work.subarray(0, elements(edit.shape));
        await readInto(numbers, matrix, edit.dtype);
        const { data, certified } = await applyEdit(edit, numbers, context.decomposer(edit));
        const onlyZeros = kindOf(edit.intervention.kind).onlyZeros && as === dtype && isFloatDType(as);
        const place = as === dtype ? matrix : result;
        const change = await rewrite(matrix, data, edit.dtype, { bytes: place, type: as, onlyZeros });
        if (as === dtype) scatter(matrix, bytes, grid);
        return { change, certified };
      });
      edited.push(describeEdit(edit, as, change, certified, (performance.now() - begin) / 1000));
    }
    context.finished(edit);
  }
  return { bytes: result, edited };
}

/** Reports a matrix that is kept completely, and so keeps its bytes. */
export function unchanged(edit: Edit): EditedMatrix {
  return describeEdit(edit, edit.dtype, { relativeError: 0, keptEnergy: 1 }, undefined, 0);
}

/**
 * Does the same as {@link editTensor} for slices whose bytes cannot be separated from the rest: the
 * tensor is decoded, edited and encoded as a whole. If the type changes, parts without an edit are
 * rounded too.
 */
async function editWhole(
  shape: readonly number[],
  bytes: Uint8Array,
  edits: readonly Edit[],
  context: EditContext,
): Promise<{ bytes: Uint8Array; edited: EditedMatrix[] }> {
  const as = writtenAs(edits);
  const { dtype } = edits[0]!;
  const all = toFloat32(bytes, dtype);
  const raw = new Uint8Array(all.buffer, all.byteOffset, all.byteLength);
  const computations: { certified: Certificates | undefined; seconds: number }[] = [];
  for (const edit of edits) {
    context.started(edit);
    const begin = performance.now();
    const certified = edit.identity
      ? undefined
      : await named(edit, async () => {
          const numbers = context.work.subarray(0, elements(edit.shape));
          numbers.set(floats(extract(raw, { shape, slice: edit.slice, itemBytes: 4 })));
          const { data, certified } = await applyEdit(edit, numbers, context.decomposer(edit));
          scatter(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), raw, {
            shape,
            slice: edit.slice,
            itemBytes: 4,
          });
          return certified;
        });
    computations.push({ certified, seconds: (performance.now() - begin) / 1000 });
  }
  const result = await named(edits[0]!, async () => fromFloat32(all, as));
  const before = toFloat32(bytes, dtype);
  all.set(toFloat32(result, as));
  const edited: EditedMatrix[] = [];
  for (const [i, edit] of edits.entries()) {
    const own = (data: Float32Array) =>
      floats(
        extract(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), {
          shape,
          slice: edit.slice,
          itemBytes: 4,
        }),
      );
    const change = requireFinite(edit, as, await compare(own(before), own(all)));
    edited.push(describeEdit(edit, as, change, computations[i]!.certified, computations[i]!.seconds));
    context.finished(edit);
  }
  return { bytes: result, edited };
}

function floats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
}

/** Adds the tensor's name to errors from layers that do not know names. */
async function named<T>(edit: Edit, work: () => Promise<T>): Promise<T> {
  const name = nameOf(edit);
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof LowRankError) || error.message.startsWith(name)) throw error;
    const hint = error.hint ?? (error.code === 'ERR_NOT_FINITE' ? DAMAGED : undefined);
    throw new LowRankError(error.code, `${name}: ${error.message}`, { hint, cause: error });
  }
}

function requireFinite(edit: Edit, as: string, change: Difference): Difference {
  if (Number.isFinite(change.relativeError)) return change;
  throw new LowRankError('ERR_NOT_FINITE', `${nameOf(edit)}: the result does not fit into ${as}`, {
    hint: 'Convert the checkpoint to BF16 or F32 first.',
  });
}

function describeEdit(
  edit: Edit,
  as: EditedMatrix['writtenAs'],
  change: Difference,
  certified: Certificates | undefined,
  seconds: number,
): EditedMatrix {
  requireFinite(edit, as, change);
  const { tensor, slice, layer, type, shape, dtype, intervention, uses } = edit;
  const rank = edit.rank ?? certified?.certificate.rank;
  const [m, n] = shape.slice(-2) as [number, number];
  return {
    tensor,
    slice,
    layer,
    type,
    shape,
    dtype,
    writtenAs: as,
    intervention: intervention.kind,
    spec: intervention.spec,
    rank,
    rankFraction: rank === undefined ? undefined : rank / Math.min(m, n),
    keptEnergy: certified?.certificate.keptEnergy ?? change.keptEnergy,
    relativeError: change.relativeError,
    certificate: certified?.certificate,
    certificates: shape.length === 3 ? certified?.certificates : undefined,
    ...(uses === undefined ? {} : { uses }),
    seconds,
  };
}
