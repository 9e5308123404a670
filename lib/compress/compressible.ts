import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { locate } from '../checkpoint/copy/entries.js';
import { graphsOn } from '../checkpoint/copy/output-summary.js';
import { formatNamed } from '../checkpoint/formats.js';
import { LowRankError } from '../errors.js';
import { storedConfig } from './stored-config.js';

/**
 * Refuses checkpoints whose layers cannot become factors, whatever their ranks.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` for GGUF, for a safetensors file without its folder, for
 *   one on whose files another
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
