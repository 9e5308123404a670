import type { TensorInfo } from '../checkpoint/checkpoint.js';
import { describe, LowRankError } from '../errors.js';
import type { Amount } from '../interventions/amount.js';
import { type Edit, nameOf } from '../interventions/edit.js';
import { kindOf } from '../interventions/kinds/kinds.js';
import type { Intervention } from '../interventions/spec.js';
import { isFloatDType, QUANT_TYPES, type ReadableType, type WritableType } from '../tensor/dtype.js';
import type { SelectedMatrix } from './select.js';

/** What an edited tensor may become that is stored in a quantised type, in words. */
export const QUANT_CHOICES = `${QUANT_TYPES.slice(0, -1).join(', ')} or ${QUANT_TYPES.at(-1)}`;

/**
 * Settles what becomes of a selected matrix: which components stay, and the type that it is written as.
 *
 * @param info its tensor
 * @param amount that of its intervention, or one chosen for this matrix, such as a rank from its spectrum
 * @throws LowRankError `ERR_UNSUPPORTED` for a quantised tensor without `quant`.
 */
export function settleAmount(
  info: TensorInfo,
  { intervention, ...selected }: SelectedMatrix,
  amount: Amount,
  quant: WritableType | undefined,
): Edit {
  const { shape, dtype } = selected;
  const [m, n] = shape.slice(-2) as [number, number];
  const { rank, threshold, identity } = kindOf(intervention.kind).resolve(amount, [m, n]);
  const writtenAs = identity ? dtype : typeWritten(info, dtype, intervention, quant);
  const uses = info.users === undefined ? {} : { uses: info.users.length };
  // The amount decides on the components too, so the edit keeps the one that it was settled with.
  return { ...selected, writtenAs, intervention: { ...intervention, amount }, rank, threshold, ...uses, identity };
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

/** So many users of a tensor are named in messages. */
const MAX_USERS = 4;

/**
 * A weight that several places use changes for all of them: that must be meant, and mean the same for each.
 *
 * @param shared whether it is meant
 * @throws LowRankError `ERR_UNSUPPORTED`.
 */
export function checkUses({ name, users, orientation }: TensorInfo, edit: Edit, shared = false): void {
  if (users === undefined || edit.identity) return;
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
