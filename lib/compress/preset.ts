import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { formatsFor } from '../quantize/coded.js';
import type { Forms } from './forms.js';
import type { Matrix } from './matrices.js';
import type { Preset } from './options.js';
import { channelsOf, smoothingsFor, withOwners } from './smoothings.js';
import { DENSE, type Stored } from './stored.js';

/** How each matrix is stored by a preset. */
export async function presetFor(
  checkpoint: Checkpoint,
  matrices: readonly Matrix[],
  preset: Preset,
  forms: Forms,
): Promise<Stored[]> {
  const smoothings = preset === 'q8' ? await smoothingsFor(checkpoint, matrices, forms) : undefined;
  const all = matrices.map((matrix): Stored => {
    if (preset === 'q8' && matrix.use === 'linear') return channelsOf(matrix, smoothings?.get(matrix.info.name));
    const formats = formatsFor(matrix, [preset === 'q8' ? 8 : 4]);
    // With 8 bits, more than one scale a row gains nothing. Where no block of 32 fits, another may.
    const format = preset === 'q8' ? formats.at(-1) : (formats.find(({ block }) => block === 32) ?? formats[0]);
    return format === undefined ? DENSE : { kind: 'blocks', format, rank: 0 };
  });
  return withOwners(matrices, all);
}
