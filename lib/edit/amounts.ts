import type { TensorInfo } from '../checkpoint/checkpoint.js';
import { describe, LowRankError } from '../errors.js';
import type { Amount } from '../interventions/amount.js';
import { type Edit, nameOf } from '../interventions/edit.js';
import { kindOf } from '../interventions/kinds/kinds.js';
import { typeForNewNumbers } from '../model/new-type.js';
import type { WritableType } from '../tensor/dtype.js';
import type { SelectedMatrix } from './select.js';

/**
 * Settles the edit of a selected matrix: the components to keep, and the type in which it is
 * written.
 *
 * @param info its tensor
 * @param amount that of its intervention, or one chosen for this matrix, such as a rank from its
 *   spectrum
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
  const chosen = `chosen by ${describe(intervention.spec)}`;
  const writtenAs = identity ? dtype : typeForNewNumbers(info, dtype, quant, chosen);
  const uses = info.users === undefined ? {} : { uses: info.users.length };
  // The amount also decides on the components, so the edit keeps it.
  return { ...selected, writtenAs, intervention: { ...intervention, amount }, rank, threshold, ...uses, identity };
}

/** The most users of a tensor that a message names. */
const MAX_USERS = 4;

/**
 * Checks that a weight with several users may be edited. The edit changes it for all of them, so
 * the user must allow it, and it must have the same meaning for each.
 *
 * @param shared whether the user allows it
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
    `${nameOf(edit)}: ${users.length} places use the tensor in different orientations, so a part of it differs between them`,
    { hint: 'Edit the whole tensor, by its name with --tensor.' },
  );
}
