/** How far the outputs of a model are from what they were. */

import { asFloats, type RuntimeTensor } from '../evaluate/engines/onnx-feeds.js';
import { EMBEDDINGS, meanOfRows } from '../evaluate/engines/onnx-outputs.js';
import { OutputChanges } from './output-change.js';

/** What a model returned for a sample: vectors of `width` numbers. */
export interface Returned {
  readonly kind: 'logits' | 'embeddings' | 'vectors';
  readonly width: number;
  readonly data: Float32Array;
}

/** Reads an output. Of vectors that make up an embedding, their mean counts, as in `compare`. */
export function returned(name: string, tensor: RuntimeTensor): Returned {
  const width = tensor.dims.at(-1) ?? 1;
  const data = asFloats(tensor);
  // The softmax of a single logit tells nothing.
  if (name === 'logits' && width > 1) return { kind: 'logits', width, data };
  if (!EMBEDDINGS.includes(name)) return { kind: 'vectors', width, data };
  if (tensor.dims.length !== 3) return { kind: 'embeddings', width, data };
  const size = tensor.dims[1]! * width;
  const means = new Float32Array(tensor.dims[0]! * width);
  for (let i = 0; i * size < data.length; i++) {
    means.set(meanOfRows(data.subarray(i * size, (i + 1) * size), width), i * width);
  }
  return { kind: 'embeddings', width, data: means };
}

/**
 * Returns the mean loss of the vectors, and how many there are: of logits KL(before || after) in
 * nats, of embeddings 1 - cosine, of others the squared distance as a share of the squared length.
 */
export function outputLoss(before: Returned, after: Returned): { readonly loss: number; readonly count: number } {
  const { kind, width, data } = before;
  if (kind === 'vectors') {
    const count = data.length / width;
    let total = 0;
    for (let at = 0; at < data.length; at += width) {
      total += distance(data.subarray(at, at + width), after.data.subarray(at, at + width));
    }
    return { loss: total / count, count };
  }
  const changes = new OutputChanges(kind === 'logits' ? 'logits' : 'vectors');
  changes.add(data, after.data, width);
  const { vectors: count, divergence, cosine = 1 } = changes.mean;
  return { loss: divergence ?? 1 - cosine, count };
}

/** |y - x|^2 / |x|^2; of a vector without length, 0. */
function distance(x: Float32Array, y: Float32Array): number {
  let [apart, length] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    apart += (y[i]! - x[i]!) ** 2;
    length += x[i]! ** 2;
  }
  return length > 0 ? apart / length : 0;
}
