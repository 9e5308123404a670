import type { Checkpoint } from '../checkpoint/checkpoint.js';
import type { Coded } from '../quantize/coded.js';
import { smoothingOf } from '../quantize/smoothing.js';
import type { PlainTensor } from '../tensor/tensor.js';
import type { Forms } from './forms.js';
import type { Matrix } from './matrices.js';
import type { Stored } from './stored.js';

/**
 * What smooths the inputs of layers that become int8, by the names of their weights: layers with
 * the same inputs share it.
 */
export async function smoothingsFor(
  { graph }: Checkpoint,
  matrices: readonly Matrix[],
  forms: Forms,
): Promise<Map<string, Float32Array>> {
  const groups = new Map<string, Matrix[]>();
  for (const matrix of matrices) {
    const [value, ...others] = matrix.use === 'linear' && matrix.codes ? (graph?.inputsOf(matrix.info.name) ?? []) : [];
    if (value !== undefined && others.length === 0) groups.set(value, [...(groups.get(value) ?? []), matrix]);
  }
  const smoothings = new Map<string, Float32Array>();
  for (const group of groups.values()) {
    const moments = await forms.inputMoments(group[0]!);
    if (moments === undefined) continue;
    const weights: PlainTensor[] = [];
    for (const matrix of group) weights.push(await forms.factors.weight(matrix));
    const scales = smoothingOf(weights, moments);
    if (scales !== undefined) for (const { info } of group) smoothings.set(info.name, scales);
  }
  return smoothings;
}

/** int8, with what smooths the inputs if there is something. */
export function channelsOf(owner: Matrix, scales: Float32Array | undefined): Coded {
  return { kind: 'channels', ...(scales && { smoothing: { owner, scales } }) };
}

/** Gives layers that share what smooths their inputs one owner of it: the first of them. */
export function withOwners(matrices: readonly Matrix[], all: readonly Stored[]): Stored[] {
  const owners = new Map<Float32Array, Matrix>();
  return all.map((stored, i) => {
    if (stored.kind !== 'channels' || stored.smoothing === undefined) return stored;
    const { scales } = stored.smoothing;
    const owner = owners.get(scales) ?? matrices[i]!;
    owners.set(scales, owner);
    return channelsOf(owner, scales);
  });
}
