import { svd } from '../linalg/svd.js';
import type { ComputeOptions } from '../lowrank/approximate.js';
import type { Certificate } from '../lowrank/certificate.js';
import { laser } from '../lowrank/laser.js';
import { keptComponents, recompose } from './components.js';
import { type Edit, nameOf } from './edit.js';
import { prune } from './prune.js';

/** What a rank reduction says of itself: one certificate for each matrix of a batch, and one for all. */
export interface Certified {
  readonly certificate: Certificate;
  readonly certificates: readonly Certificate[];
}

/**
 * Does an edit's intervention.
 *
 * @param data the numbers of `edit.shape`, finite; they may be overwritten
 * @returns the new numbers, which may be `data`, and for a rank reduction its certificates
 */
export async function intervene(
  edit: Edit,
  data: Float32Array,
  options: ComputeOptions,
): Promise<{ data: Float32Array; certified: Certified | undefined }> {
  const { intervention, shape, rank, threshold } = edit;
  switch (intervention.kind) {
    case 'zero':
      data.fill(0);
      return { data, certified: undefined };
    case 'dropout': {
      const [m, n] = shape.slice(-2) as [number, number];
      if (threshold !== undefined) {
        for (let at = 0; at < data.length; at += m * n) prune(data.subarray(at, at + m * n), threshold);
      }
      return { data, certified: undefined };
    }
    case 'bottom':
    case 'band':
    case 'random': {
      const { kind, amount } = intervention;
      const full = Math.min(...shape.slice(-2));
      const parts = await svd({ data, shape }, { threads: options.threads, signal: options.signal });
      const kept = keptComponents(kind, amount, full, { seed: options.seed, matrix: nameOf(edit) });
      return { data: await recompose(parts, kept, options.threads), certified: undefined };
    }
    case 'rank-reduction': {
      const { value, ...certified } = await laser.certified(
        { data, shape },
        { ...options, rank: rank!, inPlace: true },
      );
      return { data: value.data, certified };
    }
  }
}
