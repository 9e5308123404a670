import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { describe, LowRankError } from '../errors.js';
import { type Edit, nameOf } from '../interventions/edit.js';
import type { Intervention } from '../interventions/spec.js';
import { Model } from '../model/model.js';
import { flattened, isMatrixOrBatch, matricesNamed, type SkippedTensors } from '../model/names.js';
import { hintForType } from '../model/not-editable.js';
import { FLOAT_DTYPES, isReadableType, type ReadableType } from '../tensor/dtype.js';
import { overlap, sliceShape } from '../tensor/slice.js';

/** A matrix, or all matrices of one 3D tensor, that an intervention selects. */
export type SelectedMatrix = Pick<Edit, 'tensor' | 'slice' | 'layer' | 'type' | 'shape' | 'dtype' | 'intervention'>;

/** The matrices that interventions select. */
export interface SelectedMatrices {
  /** The family's name, if one was needed. */
  readonly family: string | undefined;
  /** In the order of the interventions. */
  readonly matrices: readonly SelectedMatrix[];
  /** Tensors that a glob matched but that are left unchanged, because they are not matrices. */
  readonly skipped: readonly SkippedTensors[];
}

/**
 * Finds the matrices that the interventions name. Amounts do not affect the selection, so ranks can
 * be chosen once the spectra of the matrices are known.
 *
 * @param options the model's family, if config.json does not name it, and whether tensors that are
 *   selected by name count as matrices whatever their dimensions
 * @throws LowRankError `ERR_NOT_FOUND` for a layer, type or name that the checkpoint lacks,
 *   `ERR_UNSUPPORTED` for an unknown family and for a dtype whose numbers cannot be read,
 *   `ERR_SHAPE` for a tensor that is neither a matrix nor a batch of them.
 */
export function selectMatrices(
  checkpoint: Checkpoint,
  interventions: readonly Intervention[],
  { family, flatten = false }: { readonly family?: string | undefined; readonly flatten?: boolean | undefined } = {},
): SelectedMatrices {
  let model: Model | undefined;
  const modelOf = () => {
    model ??= new Model(checkpoint, family);
    return model;
  };
  const skipped: SkippedTensors[] = [];
  const matrices = interventions.flatMap((intervention) =>
    targets(checkpoint, intervention, { modelOf, flatten, skipped }).map((target): SelectedMatrix => {
      const named = 'glob' in intervention.select;
      const stored = checkpoint.tensors.get(target.tensor)!;
      const info = named && flatten ? flattened(stored) : stored;
      const dtype = editableType(info, intervention);
      return { ...target, shape: sliceShape(info.shape, target.slice), dtype, intervention };
    }),
  );
  return { family: model?.family.name, matrices, skipped };
}

type Target = Pick<Edit, 'tensor' | 'slice' | 'layer' | 'type'>;

/** @param skipped - gets the tensors that a glob matched but that are not matrices */
function targets(
  checkpoint: Checkpoint,
  { select }: Intervention,
  { modelOf, flatten, skipped }: { modelOf: () => Model; flatten: boolean; skipped: SkippedTensors[] },
): readonly Target[] {
  if (!('glob' in select)) {
    return select.types.every((type) => type === 'dont') ? [] : modelOf().select(select.layers, select.types);
  }
  const found = matricesNamed(checkpoint, select.glob, (info) => isMatrixOrBatch(flatten ? flattened(info) : info));
  if (found.skipped !== undefined) skipped.push(found.skipped);
  return found.matrices.map(({ name }) => ({ tensor: name, slice: undefined, layer: undefined, type: undefined }));
}

function editableType({ name, dtype, shape }: TensorInfo, { spec }: Intervention): ReadableType {
  if (shape.length !== 2 && shape.length !== 3) {
    throw new LowRankError(
      'ERR_SHAPE',
      `${name}: shape ${describe(shape)} is neither a matrix nor a batch of matrices (chosen by ${describe(spec)})`,
      {
        hint:
          shape.length > 3
            ? 'Edit it as a matrix of its first dimension and all others with --flatten (flatten: true).'
            : 'Select fewer tensors.',
      },
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

/**
 * Checks that nothing is selected twice.
 *
 * @throws LowRankError `ERR_ARGUMENT` if a matrix, or a part of one, is.
 */
export function rejectMeetings(matrices: readonly SelectedMatrix[]): void {
  const seen = new Map<string, SelectedMatrix[]>();
  for (const later of matrices) {
    const earlier = seen.get(later.tensor) ?? [];
    const met = earlier.find((other) => overlap(other.slice, later.slice));
    if (met !== undefined) {
      const [first, second] = [met.intervention.spec, later.intervention.spec].map(describe);
      throw new LowRankError(
        'ERR_ARGUMENT',
        first === second
          ? `${nameOf(later)}: selected twice by ${first}`
          : `${nameOf(later)}: selected twice, by ${first} and by ${second}`,
        { hint: 'Interventions compose on different matrices: name each matrix only once.' },
      );
    }
    seen.set(later.tensor, [...earlier, later]);
  }
}
