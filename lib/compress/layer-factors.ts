import type { CallOptions } from '../addon/call.js';
import type { Beside } from '../addon/side-by-side.js';
import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { digestOf, digestOfJson } from '../files/journal.js';
import { estimateMemory } from '../lowrank/estimate.js';
import { factorizeBeside } from '../lowrank/factorize.js';
import type { LowRank } from '../lowrank/factors.js';
import type { Moments, MomentsKind } from '../lowrank/moments.js';
import { toFloat32 } from '../tensor/convert.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { PlainTensor } from '../tensor/tensor.js';
import { biasOf, correctedBias, weightsOf } from './bias.js';
import { operationsFor } from './cost.js';
import type { Decompositions } from './decompositions.js';
import type { MomentsFile } from './moments.js';
import { momentsName } from './moments-name.js';
import type { Layer } from './select.js';
import { transposed } from './stored-factors.js';

/**
 * What determines a decomposition besides the numbers: change it whenever these would come out
 * otherwise.
 */
const METHOD = 'lowrank compress 2';

/** How decompositions are computed. */
export interface Compute extends Pick<CallOptions, 'signal' | 'threads'> {
  /** Native work memory of one decomposition, in bytes. */
  readonly maxMemory?: number | undefined;
}

/**
 * Makes the factors of layers, weighted by the moments of a file if there is one, and keeps them in
 * a store.
 */
export class LayerFactors {
  readonly #keys = new Map<string, string>();

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly moments: MomentsFile | undefined,
    private readonly store: Decompositions,
    readonly compute: Compute,
  ) {}

  /** Whether there are moments of the layer, or none are used at all. */
  has(layer: Layer): boolean {
    return this.moments === undefined || this.moments.weights.has(this.#nameIn(this.moments, layer));
  }

  momentsOf(layer: Layer): Promise<Moments | undefined> {
    const { moments } = this;
    return moments === undefined ? Promise.resolve(undefined) : moments.read(this.#nameIn(moments, layer));
  }

  /**
   * The bias that changes with the weight of a layer; undefined without one, and without the mean
   * of its inputs.
   */
  biasOf(layer: Layer): TensorInfo | undefined {
    const { moments } = this;
    return moments?.hasMean(this.#nameIn(moments, layer)) ? biasOf(this.checkpoint, layer) : undefined;
  }

  /** The numbers of that bias beside these factors of the layer. */
  async correctedBias(layer: Layer, factors: LowRank): Promise<Float32Array | undefined> {
    const bias = this.biasOf(layer);
    if (bias === undefined) return undefined;
    const before = await this.numbers(bias);
    return correctedBias(before, await this.weight(layer), factors, (await this.momentsOf(layer))!);
  }

  /**
   * The tensors of the file with which the layer computes as with these factors, laid out as they
   * lie there: its weight, and its bias if that changes.
   */
  async multipliedOut(layer: Layer, factors: LowRank): Promise<Map<string, Float32Array>> {
    const { info, m, n } = layer;
    const { data } = factors.reconstruct();
    const tensors = new Map([[info.name, info.orientation === 'in x out' ? transposed(data, m, n) : data]]);
    const bias = await this.correctedBias(layer, factors);
    return bias === undefined ? tensors : tensors.set(this.biasOf(layer)!.name, bias);
  }

  /** The numbers of a tensor, such as a bias. */
  async numbers({ name, dtype }: TensorInfo): Promise<Float32Array> {
    return toFloat32(await this.checkpoint.read(name), dtype as FloatDType);
  }

  /** How many vectors of the layer's inputs the moments have seen, if known. */
  vectors(layer: Layer): Promise<number | undefined> {
    const { moments } = this;
    return moments === undefined ? Promise.resolve(undefined) : moments.count(this.#nameIn(moments, layer));
  }

  /** What the moments of the layer are; undefined without any. */
  kind(layer: Layer): MomentsKind | undefined {
    const { moments } = this;
    return moments?.kind(this.#nameIn(moments, layer));
  }

  /** The bytes that the decomposition of the layer takes, with its weight, moments and factors. */
  bytes(layer: Layer): number {
    const { moments, compute } = this;
    const { info, m, n } = layer;
    const kind = this.kind(layer);
    const { total } = estimateMemory([m, n], {
      rank: Math.min(m, n),
      ...(compute.threads !== undefined && { threads: compute.threads }),
      ...(kind === undefined ? { result: 'factors' } : { moments: kind }),
    });
    return info.bytes + 4 * m * n + (moments?.bytes(this.#nameIn(moments, layer)) ?? 0) + total;
  }

  /** The operations that the decomposition of the layer takes, up to a factor. */
  operations(layer: Layer): number {
    return operationsFor(layer, this.kind(layer));
  }

  /**
   * Whether the layer was decomposed before, by this job or another with the same weight and
   * moments.
   */
  async isStored(layer: Layer): Promise<boolean> {
    return this.store.has(await this.keyOf(layer));
  }

  /**
   * Decomposes a layer, unless that is stored already.
   *
   * @returns whether it was
   */
  async decompose(layer: Layer, beside: Beside): Promise<boolean> {
    const stored = await this.isStored(layer);
    if (!stored) await this.#decomposed(layer, beside);
    return stored;
  }

  /** The factors of the first `rank` components; of fewer where the matrix has no more. */
  async factors(layer: Layer, rank: number): Promise<LowRank> {
    const whole = await this.#decomposed(layer, {});
    return whole.truncate(Math.min(rank, whole.rank));
  }

  /**
   * Identifies the decomposition by what it is computed from: the weight's bytes and the moments.
   */
  async keyOf(layer: Layer): Promise<string> {
    const { info } = layer;
    const known = this.#keys.get(info.name);
    if (known !== undefined) return known;
    const moments = await this.weights(layer);
    const weights = await digestOf(await this.checkpoint.read(info.name));
    const second =
      moments &&
      (await digestOf(new Uint8Array(moments.second.buffer, moments.second.byteOffset, moments.second.byteLength)));
    const key = digestOfJson([
      METHOD,
      info.dtype,
      info.shape,
      info.orientation ?? null,
      weights,
      moments?.kind ?? null,
      second ?? null,
    ]);
    this.#keys.set(info.name, key);
    return key;
  }

  /** The moments that the decomposition is weighted by. */
  async weights(layer: Layer): Promise<Moments | undefined> {
    const moments = await this.momentsOf(layer);
    return moments && weightsOf(moments, this.biasOf(layer));
  }

  #nameIn({ weights }: MomentsFile, { name, info, aliases }: Layer): string {
    return momentsName(weights, [name, info.name, ...aliases]) ?? name;
  }

  async #decomposed(layer: Layer, beside: Beside): Promise<LowRank> {
    const key = await this.keyOf(layer);
    const found = await this.store.find(key);
    if (found !== undefined) return found;
    const { m, n } = layer;
    const moments = await this.weights(layer);
    const { signal, threads, maxMemory } = this.compute;
    const factors = await factorizeBeside(await this.weight(layer), {
      ...beside,
      ...(signal && { signal }),
      ...(maxMemory !== undefined && { maxMemory }),
      ...(threads !== undefined && { threads }),
      rank: Math.min(m, n),
      moments,
    });
    await this.store.add(key, factors);
    return factors;
  }

  /** The weight, [m, n]. */
  async weight({ info, m, n }: Layer): Promise<PlainTensor> {
    const stored = await this.numbers(info);
    return { data: info.orientation === 'in x out' ? transposed(stored, n, m) : stored, shape: [m, n] };
  }
}
