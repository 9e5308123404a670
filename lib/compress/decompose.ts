import { addon } from '../addon/load.js';
import { sideBySide } from '../addon/side-by-side.js';
import { threadsFor } from './cost.js';
import type { LayerFactors } from './layer-factors.js';
import type { Layer } from './select.js';

export interface DecomposeOptions {
  readonly threads?: number | undefined;
  readonly maxMemory?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly started: (layer: Layer) => void;
  readonly finished: (layer: Layer, stored: boolean) => void;
}

/** Decomposes the layers that are not stored yet, as many side by side as fit into the memory. */
export async function decompose(
  layers: readonly Layer[],
  source: LayerFactors,
  { threads, maxMemory = Number.POSITIVE_INFINITY, signal, started, finished }: DecomposeOptions,
): Promise<void> {
  const all = threads ?? addon().info().threads;
  const work = async (layer: Layer) => {
    signal?.throwIfAborted();
    started(layer);
    const stored = await source.isStored(layer);
    if (!stored) await source.factors(layer, 0);
    finished(layer, stored);
  };
  const small = layers.filter((layer) => threadsFor(layer, all) === 1);
  const largest = Math.max(0, ...small.map((layer) => source.bytes(layer)));
  const count = Math.max(1, Math.min(all, Math.floor(maxMemory / largest) || 1));
  await sideBySide(small, count, work);
  for (const layer of layers) if (!small.includes(layer)) await work(layer);
}
