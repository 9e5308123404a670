import type { Beside } from '../addon/side-by-side.js';
import { LowRankError } from '../errors.js';
import { svd } from '../linalg/svd.js';
import { approximate, type ComputeOptions } from '../lowrank/approximate.js';
import { elements } from '../tensor/tensor.js';
import { type Edit, nameOf } from './edit.js';
import type { AppliedIntervention, Decomposer } from './kinds/kind.js';
import { kindOf } from './kinds/kinds.js';

/** Hint for a matrix with non-finite numbers. */
export const DAMAGED = 'The checkpoint is damaged or was trained to divergence: it has no meaningful approximation.';

/**
 * Applies the intervention of an edit. This is the only place that does so.
 *
 * @param data the numbers of `edit.shape`; may be overwritten, and returned
 * @throws LowRankError `ERR_NOT_FINITE` for a NaN or an infinity; as the decomposer does.
 */
export async function applyEdit(edit: Edit, data: Float32Array, decomposer: Decomposer): Promise<AppliedIntervention> {
  const kind = kindOf(edit.intervention.kind);
  if (!kind.findsNotFinite) rejectNotFinite(edit, data);
  return kind.apply({ ...edit, name: nameOf(edit), amount: edit.intervention.amount }, data, decomposer);
}

/** Decomposes each matrix when it is edited. A rank reduction computes no more than it needs. */
export function decomposeAnew(options: ComputeOptions & Beside): Decomposer {
  const { threads, seed, signal } = options;
  return {
    threads,
    seed,
    svd: (w) => svd(w, { threads, signal }),
    truncate: async (w, choice) => {
      const { job, certificate, certificates } = await approximate(w, { ...options, ...choice }, 'in place');
      return { data: job.dense!, certified: { certificate, certificates } };
    },
  };
}

function rejectNotFinite(edit: Edit, data: Float32Array): void {
  const index = data.findIndex((x) => !Number.isFinite(x));
  if (index < 0) return;
  const place = edit.shape.map((_, axis) => {
    const stride = elements(edit.shape.slice(axis + 1));
    return Math.floor(index / stride) % edit.shape[axis]!;
  });
  const message = `${nameOf(edit)}: the matrix holds ${data[index]} at [${place.join(', ')}]`;
  throw new LowRankError('ERR_NOT_FINITE', message, { hint: DAMAGED });
}
