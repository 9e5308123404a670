import { readFileSync } from 'node:fs';
import { addon, kernels } from './addon/load.js';

/** Of this package. A job that another version began may have been computed differently, and is not gone on with. */
export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/**
 * Everything outside a job's own options that decides how its results are rounded. Other kernels, chosen for another
 * processor, round differently.
 *
 * @param threads as many as there are cores unless given
 */
export function describeArithmetic(threads?: number) {
  const { threads: all, openblas } = addon().info();
  return { lowrank: packageVersion(), openblas, kernel: kernels(), threads: threads ?? all };
}
