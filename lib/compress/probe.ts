import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Checkpoint, ModelGraph, TensorInfo } from '../checkpoint/checkpoint.js';
import { assemble } from '../checkpoint/copy/fill.js';
import {
  asFloats,
  type Feeds,
  type Inference,
  type Runtime,
  type RuntimeTensor,
} from '../evaluate/engines/onnx-feeds.js';
import { toFloat32 } from '../tensor/convert.js';
import { linkData } from './link-data.js';
import type { Samples } from './samples.js';

/** Samples on which one layer at a time is tried. */
const PROBES = 4;
/** Samples, others than those, on which whole choices of ranks are. */
const TRIALS = 12;

/**
 * Runs a model with other weights in some of its layers, and measures how far that changes its outputs. The weights are
 * inputs of the graph that runs, so one session serves all trials.
 */
export class Probe {
  private constructor(
    private readonly folder: string,
    private readonly session: Inference,
    private readonly runtime: Runtime,
    private readonly samples: Samples,
    private readonly weights: ReadonlyMap<string, RuntimeTensor>,
    /** The outputs of the model as it is. */
    private readonly original: readonly RuntimeTensor[],
  ) {}

  /** @param tensors the weights and biases that will be exchanged, of the type F32 */
  static async open(
    checkpoint: Checkpoint,
    graph: ModelGraph,
    tensors: readonly TensorInfo[],
    samples: Samples,
    runtime: Runtime,
    threads: number | undefined,
  ): Promise<Probe> {
    const folder = await mkdtemp(join(tmpdir(), 'lowrank-'));
    let session: Inference | undefined;
    try {
      const model = join(folder, 'probed.onnx');
      await linkData(checkpoint, folder);
      await assemble(graph.feeding(tensors).parts!, model, () => checkpoint.main);
      session = await runtime.InferenceSession.create(model, {
        executionProviders: ['cpu'],
        ...(threads !== undefined && { intraOpNumThreads: threads }),
        extra: { session: { intra_op: { allow_spinning: '0' } } },
        logSeverityLevel: 3,
      });
      const weights = new Map<string, RuntimeTensor>();
      for (const info of tensors) {
        const numbers = toFloat32(await checkpoint.read(info.name), info.dtype);
        weights.set(info.name, new runtime.Tensor('float32', numbers, info.shape));
      }
      const original: RuntimeTensor[] = [];
      const probe = new Probe(folder, session, runtime, samples, weights, original);
      for (let i = 0; i < Math.min(samples.count, PROBES + TRIALS); i++) original.push(await probe.#run(i, new Map()));
      return probe;
    } catch (cause) {
      await session?.release();
      await rm(folder, { recursive: true, force: true });
      throw cause;
    }
  }

  /** The loss with other tensors in one layer, laid out as in the file. */
  sensitivity(tensors: ReadonlyMap<string, Float32Array>): Promise<number> {
    return this.#loss(tensors, 0, Math.min(PROBES, this.original.length));
  }

  /** The loss with other weights in several layers, on samples that no sensitivity has seen, if there are any. */
  loss(weights: ReadonlyMap<string, Float32Array>): Promise<number> {
    const all = this.original.length;
    return this.#loss(weights, all > PROBES ? PROBES : 0, all);
  }

  async close(): Promise<void> {
    await this.session.release();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #loss(weights: ReadonlyMap<string, Float32Array>, from: number, to: number): Promise<number> {
    let [sum, count] = [0, 0];
    for (let i = from; i < to; i++) {
      const before = this.original[i]!;
      const after = await this.#run(i, weights);
      const width = before.dims.at(-1)!;
      sum += outputLoss(asFloats(before), asFloats(after), width);
      count += asFloats(before).length / width;
    }
    return sum / count;
  }

  async #run(sample: number, weights: ReadonlyMap<string, Float32Array>): Promise<RuntimeTensor> {
    const { session, runtime } = this;
    const inputNames = session.inputNames.filter((name) => !this.weights.has(name));
    const own = { ...session, inputNames, inputMetadata: session.inputMetadata ?? [] };
    const feeds: Feeds = await this.samples.feeds(sample, runtime, own);
    for (const [name, tensor] of this.weights) {
      const other = weights.get(name);
      feeds[name] = other === undefined ? tensor : new runtime.Tensor('float32', other, tensor.dims);
    }
    const output = session.outputNames.find((name) => name === 'logits') ?? session.outputNames[0]!;
    return (await session.run(feeds, [output]))[output]!;
  }
}

/**
 * Returns how far vectors of outputs are from what they were, summed over the vectors: the squared
 * distance after both have lost their mean, as a share of the squared length. It grows with the
 * divergence of the softmax and with 1 - cosine, and is below 2 if the lengths stay alike.
 *
 * @internal
 */
export function outputLoss(before: Float32Array, after: Float32Array, width: number): number {
  let total = 0;
  for (let begin = 0; begin < before.length; begin += width) {
    let [sumX, sumY] = [0, 0];
    for (let i = begin; i < begin + width; i++) {
      sumX += before[i]!;
      sumY += after[i]!;
    }
    const shift = (sumY - sumX) / width;
    const mean = sumX / width;
    let [distance, length] = [0, 0];
    for (let i = begin; i < begin + width; i++) {
      distance += (after[i]! - before[i]! - shift) ** 2;
      length += (before[i]! - mean) ** 2;
    }
    total += length > 0 ? distance / length : 0;
  }
  return total;
}
