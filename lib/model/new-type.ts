import type { TensorInfo } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import type { OptionType } from '../options.js';
import { isFloatDType, isWritableType, QUANT_TYPES, type ReadableType, type WritableType } from '../tensor/dtype.js';

/**
 * The types, in words, to which a tensor of a quantised type can change when it gets new numbers.
 */
export const QUANT_CHOICES = `${QUANT_TYPES.slice(0, -1).join(', ')} or ${QUANT_TYPES.at(-1)}`;

/** The option that chooses one of them. */
export const QUANT: OptionType<WritableType> = {
  expected: QUANT_CHOICES,
  is: (value): value is WritableType => typeof value === 'string' && isWritableType(value),
};

/**
 * Returns the type in which new numbers of a tensor are written. Floats keep their type. A
 * quantised tensor cannot store new numbers, so the user chooses its new type.
 *
 * @param why completes the message, such as "chosen by ..."
 * @throws LowRankError `ERR_UNSUPPORTED` for a quantised tensor without `quant`.
 */
export function typeForNewNumbers(
  { name }: Pick<TensorInfo, 'name'>,
  dtype: ReadableType,
  quant: WritableType | undefined,
  why?: string,
): WritableType {
  if (isFloatDType(dtype)) return dtype;
  if (quant !== undefined) return quant;
  const message = `${name}: is stored as ${dtype}, which cannot store edited numbers`;
  throw new LowRankError('ERR_UNSUPPORTED', why === undefined ? message : `${message} (${why})`, {
    hint: `Choose a type for edited tensors with --quant (quant: ...): ${QUANT_CHOICES}; Q8_0 is the smallest, F32 the most precise.`,
  });
}
