import type { CallOptions } from '../addon/call.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { factorize } from '../lowrank/factorize.js';
import type { LowRank } from '../lowrank/factors.js';
import type { Moments } from '../lowrank/moments.js';
import { toFloat32 } from '../tensor/convert.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import type { MomentsFile } from './moments.js';
import type { Layer } from './select.js';
import { transposed } from './stored-factors.js';

/** Makes the factors of layers, weighted by the moments of a file if there is one. */
export class LayerFactors {
  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly moments: MomentsFile | undefined,
    readonly compute: Pick<CallOptions, 'signal' | 'threads'>,
  ) {}

  /** Whether there are moments of the layer, or none are used at all. */
  has({ name, info }: Layer): boolean {
    return this.moments === undefined || this.moments.weights.has(name) || this.moments.weights.has(info.name);
  }

  momentsOf({ name, info }: Layer): Promise<Moments | undefined> {
    const { moments } = this;
    return moments === undefined
      ? Promise.resolve(undefined)
      : moments.read(moments.weights.has(name) ? name : info.name);
  }

  async factors(layer: Layer, rank: number): Promise<LowRank> {
    const moments = await this.momentsOf(layer);
    return factorize(await this.#weight(layer), { ...this.compute, rank, moments });
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
