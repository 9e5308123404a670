import { packageVersion } from '../version.js';
import { addon, kernels } from './load.js';

/**
 * Describes everything beyond a job's own options that affects the rounding of its results: the
 * kernels of another processor round differently.
 *
 * @param threads by default as many as there are cores
 */
export function describeArithmetic(threads?: number) {
  const { threads: all, openblas } = addon().info();
  return { lowrank: packageVersion(), openblas, kernel: kernels(), threads: threads ?? all };
}
