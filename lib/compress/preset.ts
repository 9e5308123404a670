import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { formatsFor, type Smoothing } from '../quantize/coded.js';
import { smoothingOf } from '../quantize/smoothing.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Forms } from './forms.js';
import type { Matrix } from './matrices.js';
import type { Preset } from './options.js';
import { DENSE, type Stored } from './stored.js';

/** How each matrix is stored by a preset. */
export async function presetFor(
  checkpoint: Checkpoint,
  matrices: readonly Matrix[],
  preset: Preset,
  forms: Forms,
): Promise<Stored[]> {
  const smoothings = preset === 'q8' ? await smoothingsFor(checkpoint, matrices, forms) : new Map<string, Smoothing>();
  return matrices.map((matrix): Stored => {
    const smoothing = smoothings.get(matrix.info.name);
    if (preset === 'q8' && matrix.use === 'linear') return { kind: 'channels', ...(smoothing && { smoothing }) };
    // With 8 bits, small blocks gain nothing.
    const [bits, block] = preset === 'q8' ? ([8, 128] as const) : ([4, 32] as const);
    const formats = formatsFor(matrix, [bits]);
    // Where no such block divides the columns, another may.
    const format = formats.find((each) => each.block === block) ?? formats[0];
    return format === undefined ? DENSE : { kind: 'blocks', format, rank: 0 };
  });
}

/** What smooths the inputs of layers, by their weights: layers with the same inputs share it. */
async function smoothingsFor(
  { graph }: Checkpoint,
  matrices: readonly Matrix[],
  forms: Forms,
): Promise<Map<string, Smoothing>> {
  const groups = new Map<string, Matrix[]>();
  for (const matrix of matrices) {
    const [value, ...others] = matrix.use === 'linear' ? (graph?.inputsOf(matrix.info.name) ?? []) : [];
    if (value !== undefined && others.length === 0) groups.set(value, [...(groups.get(value) ?? []), matrix]);
  }
  const smoothings = new Map<string, Smoothing>();
  for (const group of groups.values()) {
    const [owner] = group as [Matrix, ...Matrix[]];
    const moments = await forms.inputMoments(owner);
    if (moments === undefined) continue;
    const weights: Tensor[] = [];
    for (const matrix of group) weights.push(await forms.factors.weight(matrix));
    const scales = smoothingOf(weights, moments);
    if (scales !== undefined) for (const { info } of group) smoothings.set(info.name, { owner, scales });
  }
  return smoothings;
}
