import type { CallOptions } from '../addon/call.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { digestOf, digestOfJson } from '../files/journal.js';
import { factorize } from '../lowrank/factorize.js';
import type { LowRank } from '../lowrank/factors.js';
import type { Moments } from '../lowrank/moments.js';
import { toFloat32 } from '../tensor/convert.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { bytesFor, threadsFor } from './cost.js';
import type { Decompositions } from './decompositions.js';
import type { MomentsFile } from './moments.js';
import type { Layer } from './select.js';
import { transposed } from './stored-factors.js';

/** What determines a decomposition besides the numbers: change it whenever these would come out otherwise. */
const METHOD = 'lowrank compress 1';

/** How decompositions are computed. */
export interface Compute extends Pick<CallOptions, 'signal' | 'threads'> {
  /** Native work memory of one decomposition, in bytes. */
  readonly maxMemory?: number | undefined;
}

/** Makes the factors of layers, weighted by the moments of a file if there is one, and keeps them in a store. */
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

  /** How many vectors of the layer's inputs the moments have seen, if known. */
  vectors(layer: Layer): Promise<number | undefined> {
    const { moments } = this;
    return moments === undefined ? Promise.resolve(undefined) : moments.count(this.#nameIn(moments, layer));
  }

  /** The bytes that the decomposition of the layer takes. */
  bytes(layer: Layer): number {
    const { moments } = this;
    return bytesFor(layer, moments === undefined ? 0 : moments.bytes(this.#nameIn(moments, layer)));
  }

  /** Whether the layer was decomposed before, by this job or another with the same weight and moments. */
  async isStored(layer: Layer): Promise<boolean> {
    return this.store.has(await this.keyOf(layer));
  }

  /** The factors of the first `rank` components; of fewer where the matrix has no more. */
  async factors(layer: Layer, rank: number): Promise<LowRank> {
    const whole = await this.#decomposed(layer);
    return whole.truncate(Math.min(rank, whole.rank));
  }

  /** Identifies the decomposition by what it is computed from: the weight's bytes and the moments. */
  async keyOf(layer: Layer): Promise<string> {
    const { info } = layer;
    const known = this.#keys.get(info.name);
    if (known !== undefined) return known;
    const moments = await this.momentsOf(layer);
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

  #nameIn({ weights }: MomentsFile, { name, info, aliases }: Layer): string {
    return [name, info.name, ...aliases].find((each) => weights.has(each)) ?? name;
  }

  async #decomposed(layer: Layer): Promise<LowRank> {
    const key = await this.keyOf(layer);
    const found = await this.store.find(key);
    if (found !== undefined) return found;
    const { m, n } = layer;
    const moments = await this.momentsOf(layer);
    const { signal, threads, maxMemory } = this.compute;
    const factors = await factorize(await this.#weight(layer), {
      ...(signal && { signal }),
      ...(maxMemory !== undefined && { maxMemory }),
      threads: threadsFor(layer, threads),
      rank: Math.min(m, n),
      moments,
    });
    await this.store.add(key, factors);
    return factors;
  }

  /** The weight, [m, n]. */
  async #weight({ info, m, n }: Layer): Promise<Tensor> {
    const stored = toFloat32(await this.checkpoint.read(info.name), info.dtype as FloatDType);
    return { data: info.orientation === 'in x out' ? transposed(stored, n, m) : stored, shape: [m, n] };
  }
}

/** The product of factors, laid out as the weight of a layer lies in its file. */
export function productInFile({ info, m, n }: Layer, factors: LowRank): Float32Array {
  const { data } = factors.reconstruct();
  return info.orientation === 'in x out' ? transposed(data, m, n) : data;
}
