import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { LowRankError } from '../errors.js';
import { packageFolder } from '../version.js';
import type { Matrix } from './matrices.js';
import type { Storage } from './ranks.js';
import type { Stored } from './stored.js';
import { configWith } from './stored-config.js';

/**
 * The program that loads a compressed safetensors checkpoint into transformers; it lies beside the
 * weights.
 */
export const LOADER = 'lowrank_loader.py';

/**
 * Returns the small files that a compressed copy gets: for safetensors config.json and {@link
 * LOADER}, if any layer becomes factors.
 *
 * @param decided the matrices, and what becomes of each
 */
export async function filesBeside(
  checkpoint: Checkpoint,
  decided: readonly { readonly matrix: Matrix; readonly stored: Stored }[],
  storage: Storage,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const factored = decided.flatMap(({ matrix, stored }) =>
    stored.kind === 'factors' ? [{ layer: matrix, rank: stored.rank }] : [],
  );
  if (checkpoint.graph !== undefined || factored.length === 0) return new Map();
  const transposed = factored.filter(({ layer }) => layer.info.orientation === 'in x out');
  const config = await configWith(checkpoint, {
    storage,
    layers: Object.fromEntries(factored.map(({ layer, rank }) => [layer.stem, rank])),
    ...(transposed.length > 0 && { transposed: transposed.map(({ layer }) => layer.stem) }),
  });
  return new Map([config, [LOADER, await loader()]]);
}

async function loader(): Promise<Uint8Array> {
  const folder = packageFolder();
  if (folder !== undefined) return readFile(join(folder, 'python', LOADER));
  throw new LowRankError('ERR_UNSUPPORTED', `${LOADER} is not part of this bundle of lowrank`, {
    hint: 'Leave the package out of the bundle, as an external one.',
  });
}
