import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { locate } from '../checkpoint/copy/entries.js';
import { graphsOn } from '../checkpoint/copy/output-summary.js';
import { formatNamed } from '../checkpoint/formats.js';
import { LowRankError } from '../errors.js';
import { packageFolder } from '../version.js';
import type { Allotted, Storage } from './allocate.js';
import type { Layer } from './select.js';
import { configWith, storedConfig } from './stored-config.js';

/** The program that loads a compressed safetensors checkpoint into transformers; it lies beside the weights. */
export const LOADER = 'lowrank_loader.py';

/**
 * Refuses checkpoints whose layers cannot become factors, whatever their ranks.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` for GGUF, for a safetensors file without its folder, for one on whose files another
 * ONNX graph in the folder lies, and for a checkpoint that is compressed already.
 */
export async function requireCompressible(checkpoint: Checkpoint): Promise<void> {
  const { path, format, graph } = checkpoint;
  const refuse = (why: string, hint: string) => {
    throw new LowRankError('ERR_UNSUPPORTED', `${path}: ${why}`, { hint });
  };
  const [onTop] = await graphsOn(checkpoint);
  if (onTop !== undefined) {
    refuse(
      `${onTop} takes its weights from the same files, which become others`,
      `Compress a copy of the folder without ${onTop}.`,
    );
  }
  if (graph !== undefined) return;
  if (!formatNamed(format).hasModuleNames) {
    refuse(
      `${formatNamed(format).label} files cannot hold factors: no program that runs them has such layers`,
      'Compress the safetensors checkpoint, multiply it out with `lowrank expand`, then convert and quantise that.',
    );
  }
  if (!(await locate(checkpoint)).isFolder) {
    refuse('config.json has to say which layers are factors', 'Pass the folder of the model, not the file.');
  }
  if (storedConfig(checkpoint) !== undefined) {
    refuse('is compressed already', 'Compress the original, or multiply this one out first with `lowrank expand`.');
  }
}

/**
 * Returns the small files that a compressed copy gets: for safetensors config.json and {@link LOADER}, if any layer becomes
 * factors.
 *
 * @param decided the layers, and what becomes of each
 */
export async function filesBeside(
  checkpoint: Checkpoint,
  decided: readonly { readonly layer: Layer; readonly allotted: Pick<Allotted, 'rank'> }[],
  storage: Storage,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const factored = decided.flatMap(({ layer, allotted: { rank } }) => (rank === undefined ? [] : [{ layer, rank }]));
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
