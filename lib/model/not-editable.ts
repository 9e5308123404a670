import type { StoredType } from '../tensor/dtype.js';

/** Whole numbers that quantised weights are packed into, by one tool or another (GPTQ and MLX take 32 bits at a time). */
const PACKED = /^[IU](?:2|4|8|32)$/;

/** What to do where a tensor of this type was to be edited, and its numbers are no floats that can be. */
export function hintForType(dtype: StoredType): string {
  if (PACKED.test(dtype)) {
    return 'If these are packed weights, start from a checkpoint that is not quantised; else they are counts or indexes: choose other tensors.';
  }
  if (/^[IU]\d+$/.test(dtype))
    return 'These are whole numbers such as positions or indexes, no weights: choose other tensors.';
  switch (dtype) {
    case 'BOOL':
    case 'STRING':
      return 'These are no numbers: choose other tensors.';
    case 'C64':
    case 'C128':
      return 'Complex numbers are not edited here: choose other tensors.';
    case 'F64':
      return 'Convert the tensor to F32 first.';
    default:
      return 'Start from a checkpoint that is not quantised.';
  }
}
