import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import type { LowRank } from '../lowrank/factors.js';
import { biasCorrection, centred, type Moments } from '../lowrank/moments.js';
import { isFloatDType } from '../tensor/dtype.js';
import { elements, type PlainTensor } from '../tensor/tensor.js';
import type { Layer } from './select.js';

/**
 * The bias of a layer that computes W x + b, by the graph or, without one, by its name; if it can
 * be replaced.
 */
export function biasOf({ graph, tensors }: Checkpoint, { info, m, stem }: Layer): TensorInfo | undefined {
  const name = graph === undefined ? `${stem}.bias` : graph.biasOf(info.name);
  const bias = name === undefined ? undefined : tensors.get(name);
  if (bias === undefined || !isFloatDType(bias.dtype)) return undefined;
  return bias.shape.at(-1) === m && elements(bias.shape) === m ? bias : undefined;
}

/**
 * The moments that weigh the error of a layer's factors: about the mean, where a bias takes up the
 * error of the mean.
 */
export function weightsOf(moments: Moments, bias: TensorInfo | undefined): Moments {
  return bias !== undefined && moments.mean !== undefined ? centred(moments) : moments;
}

/**
 * The bias with which a layer has the same mean output as before: b + (W - W') mu.
 *
 * @param b - [m]
 * @param w - [m, n]
 * @param moments not centred, with their mean
 */
export function correctedBias(b: Float32Array, w: PlainTensor, factors: LowRank, moments: Moments): Float32Array {
  const change = biasCorrection(w, factors, moments);
  return b.map((value, i) => value + change[i]!);
}

/**
 * The same where W' is given as its numbers.
 *
 * @param w - [m, n]
 * @param dense - W', [m, n]
 * @param mean of the layer's inputs
 */
export function shiftedBias(b: Float32Array, w: PlainTensor, dense: Float32Array, mean: Float64Array): Float32Array {
  const n = mean.length;
  return b.map((value, i) => {
    let sum = value;
    for (let j = 0, at = i * n; j < n; j++, at++) sum += (w.data[at]! - dense[at]!) * mean[j]!;
    return sum;
  });
}
