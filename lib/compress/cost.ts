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

/** The bytes that the decomposition of a layer takes, with the layer, its moments and its factors; measured and rounded up. */
export function bytesFor({ m, n }: Layer): number {
  const least = Math.min(m, n);
  return 4 * (3 * m * n + least * (m + n)) + 8 * (Math.max(m, n) ** 2 + 4 * least ** 2);
}
