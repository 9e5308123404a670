import type { Checkpoint, TensorChange } from '../checkpoint/checkpoint.js';
import { mainOfCopy } from '../checkpoint/copy/layouts.js';
import type { OutputSummary } from '../checkpoint/copy/output-summary.js';
import { withCopy } from '../checkpoint/copy/with-copy.js';
import type { LowRank } from '../lowrank/factors.js';
import { fromFloat32 } from '../tensor/convert.js';
import type { FloatDType } from '../tensor/dtype.js';
import type { Allotted, Storage } from './allocate.js';
import { filesBeside } from './files-beside.js';
import type { LayerFactors } from './layer-factors.js';
import type { Layer } from './select.js';
import { storedBytes, storedTensors } from './stored-factors.js';

/** A layer and what becomes of it. */
export interface Decided {
  readonly layer: Layer;
  readonly allotted: Allotted;
}

export interface WriteOptions<T> {
  readonly storage: Storage;
  readonly signal?: AbortSignal | undefined;
  readonly started: (layer: Layer) => void;
  /** @param factors undefined for a layer that stays dense */
  readonly finished: (layer: Layer, factors: LowRank | undefined) => void;
  /** Looks at the written model before it is published, by the path that opens it. */
  readonly judge: (main: string) => Promise<T>;
  readonly onCommit: () => void;
}

/** The tensors of a compressed model that take the places of others. */
export function changesFor(decided: readonly Decided[], storage: Storage): Map<string, TensorChange> {
  return new Map(
    decided.flatMap(({ layer, allotted: { rank } }) =>
      rank === undefined ? [] : [[layer.info.name, { by: storedTensors(layer, rank, storage) }] as const],
    ),
  );
}

/**
 * Writes a copy with factors in place of weights, and publishes it once `judge` has seen it.
 *
 * @throws as `withCopy`, and what `judge` throws: then nothing appears.
 */
export async function writeCompressed<T>(
  checkpoint: Checkpoint,
  out: string,
  decided: readonly Decided[],
  source: LayerFactors,
  options: WriteOptions<T>,
): Promise<{ readonly result: T; readonly output: OutputSummary }> {
  const { storage, signal, started, finished, judge, onCommit } = options;
  const changes = changesFor(decided, storage);
  for (const { layer, allotted } of decided) {
    const bias = allotted.rank === undefined ? undefined : source.biasOf(layer);
    if (bias !== undefined) changes.set(bias.name, { as: bias.dtype });
  }
  const files = await filesBeside(checkpoint, decided, storage);
  return withCopy(checkpoint, out, { ...(signal && { signal }), changes, files, onCommit }, async (copy) => {
    for (const { layer, allotted } of decided) {
      signal?.throwIfAborted();
      started(layer);
      let factors: LowRank | undefined;
      if (allotted.rank !== undefined) {
        factors = await source.factors(layer, allotted.rank);
        const tensors = await storedBytes(factors, layer, storage, { ...(signal && { signal }) });
        for (const [tensor, bytes] of tensors) await copy.write(tensor, bytes);
        const bias = await source.correctedBias(layer, factors);
        if (bias !== undefined) {
          const { name, dtype } = source.biasOf(layer)!;
          await copy.write(name, fromFloat32(bias, dtype as FloatDType));
        }
      }
      finished(layer, factors);
    }
    const path = await copy.written();
    return judge(checkpoint.path === checkpoint.main ? path : mainOfCopy(checkpoint, path));
  });
}
