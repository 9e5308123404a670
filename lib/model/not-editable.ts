import type { StoredType } from '../tensor/dtype.js';

/** Integer types into which tools pack quantised weights (GPTQ and MLX pack 32 bits at a time). */
const PACKED = /^[IU](?:2|4|8|32)$/;

/**
 * Returns what to do if a tensor of this type was selected for an edit, which supports only floats.
 */
export function hintForType(dtype: StoredType): string {
  if (PACKED.test(dtype)) {
    return 'If these are packed weights, start from an unquantised checkpoint. Otherwise they are counts or indexes: choose other tensors.';
  }
  if (/^[IU]\d+$/.test(dtype))
    return 'These are integers such as positions or indexes, not weights: choose other tensors.';
  switch (dtype) {
    case 'BOOL':
    case 'STRING':
      return 'These are not numbers: choose other tensors.';
    case 'C64':
    case 'C128':
      return 'Complex numbers cannot be edited: choose other tensors.';
    case 'F64':
      return 'Convert the tensor to F32 first.';
    default:
      return 'Start from an unquantised checkpoint.';
  }
}
