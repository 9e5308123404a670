import { addon } from '../addon/load.js';
import type { Layer } from './select.js';

/**
 * Layers of up to this many numbers are decomposed side by side, on one thread each: their reductions have steps that no
 * two threads can share. It depends on the layer alone, so that every machine rounds alike.
 */
const SMALL = 2 ** 22;

/** The threads that decompose a layer. */
export function threadsFor({ m, n }: Layer, threads = addon().info().threads): number {
  return m * n <= SMALL ? 1 : threads;
}

/**
 * The bytes that the decomposition of a layer takes, with the layer, its moments and its factors.
 *
 * @param moments bytes of the second moments
 */
export function bytesFor({ m, n, info }: Layer, moments: number): number {
  const least = Math.min(m, n);
  const factors = 4 * least * (m + n + 1);
  // The image of the weight in float32, its Gram matrix and eigenvectors in float64.
  return info.bytes + 4 * 2 * m * n + factors + moments + 8 * 3 * least ** 2;
}
