import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import { isFloatDType } from '../tensor/dtype.js';
import { sameShape, type Tensor } from '../tensor/tensor.js';
import { difference } from './extract.js';
import type { SelectedWeight } from './select-weights.js';

/** A tensor that differs between the checkpoints but is not in the adapter. */
export interface UncoveredTensor {
  readonly tensor: string;
  readonly reason: 'changed' | 'other shape' | 'only in base' | 'only in tuned';
}

/**
 * Reads a weight from both checkpoints, and computes tuned - base.
 *
 * @throws LowRankError `ERR_NOT_FINITE`, naming the tensor.
 */
export async function differenceOf(
  base: Checkpoint,
  tuned: Checkpoint,
  { tensor, info, baseInfo }: SelectedWeight,
): Promise<Tensor> {
  const data = difference(
    { bytes: await base.read(tensor), dtype: baseInfo.dtype },
    { bytes: await tuned.read(tensor), dtype: info.dtype },
  );
  const index = data.findIndex((value) => !Number.isFinite(value));
  if (index >= 0) {
    const place = `[${Math.floor(index / info.shape[1]!)}, ${index % info.shape[1]!}]`;
    throw new LowRankError('ERR_NOT_FINITE', `${tensor}: the difference at ${place} is ${data[index]}`, {
      hint: 'One of the checkpoints is damaged or was trained to divergence.',
    });
  }
  return { data, shape: info.shape };
}

/** Finds tensors that differ between the checkpoints, except for the chosen ones. */
export async function findUncovered(
  base: Checkpoint,
  tuned: Checkpoint,
  chosen: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<UncoveredTensor[]> {
  const uncovered: UncoveredTensor[] = [];
  for (const name of new Set([...tuned.tensors.keys(), ...base.tensors.keys()])) {
    if (chosen.has(name)) continue;
    signal?.throwIfAborted();
    const [before, after] = [base.tensors.get(name), tuned.tensors.get(name)];
    if (before === undefined) uncovered.push({ tensor: name, reason: 'only in tuned' });
    else if (after === undefined) uncovered.push({ tensor: name, reason: 'only in base' });
    else if (!sameShape(before.shape, after.shape)) uncovered.push({ tensor: name, reason: 'other shape' });
    else if (await differs(base, before, tuned, after)) uncovered.push({ tensor: name, reason: 'changed' });
  }
  return uncovered;
}

/** Compares floats by their numbers, everything else by its bytes. */
async function differs(base: Checkpoint, before: TensorInfo, tuned: Checkpoint, after: TensorInfo): Promise<boolean> {
  const [x, y] = [await base.read(before.name), await tuned.read(after.name)];
  if (before.dtype === after.dtype) return Buffer.compare(x, y) !== 0;
  if (!isFloatDType(before.dtype) || !isFloatDType(after.dtype)) return true;
  return difference({ bytes: x, dtype: before.dtype }, { bytes: y, dtype: after.dtype }).some((value) => value !== 0);
}
