import { addon } from '../addon/load.js';
import { BESIDE_BYTES, countBeside, sideBySide } from '../addon/side-by-side.js';
import type { LayerFactors } from './layer-factors.js';
import type { Layer } from './select.js';

export interface DecomposeOptions {
  readonly threads?: number | undefined;
  readonly maxMemory?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly started: (layer: Layer) => void;
  readonly finished: (layer: Layer, stored: boolean) => void;
}

/**
 * Decomposes the layers that are not stored yet, as many side by side as there are threads, and as
 * fit into the memory.
 */
export async function decompose(
  layers: readonly Layer[],
  source: LayerFactors,
  options: DecomposeOptions,
): Promise<void> {
  const { threads = addon().info().threads, maxMemory = BESIDE_BYTES, signal, started, finished } = options;
  const needs = layers.map((layer) => source.bytes(layer));
  const count = countBeside(needs, threads, maxMemory);
  await sideBySide(layers, { count, threads }, async (layer, beside) => {
    signal?.throwIfAborted();
    started(layer);
    finished(layer, await source.decompose(layer, beside));
  });
}
