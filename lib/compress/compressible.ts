import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { locate } from '../checkpoint/copy/entries.js';
import { graphsOn } from '../checkpoint/copy/output-summary.js';
import { formatNamed } from '../checkpoint/formats.js';
import { LowRankError } from '../errors.js';
import { stemOfFactor } from './factor-names.js';
import { storedConfig } from './stored-config.js';

/**
 * Refuses checkpoints whose layers cannot become factors, whatever their ranks.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` for GGUF, for a safetensors file without its folder, for
 *   one on whose files another
 * ONNX graph in the folder lies, and for a checkpoint that is compressed already.
 */
export async function requireCompressible(checkpoint: Checkpoint): Promise<void> {
  const { path, format, graph, tensors } = checkpoint;
  const refuse = (why: string, hint: string) => {
    throw new LowRankError('ERR_UNSUPPORTED', `${path}: ${why}`, { hint });
  };
  await requireOwnFiles(checkpoint, 'Compress');
  const [again, instead] = [
    'is compressed already',
    'Compress the original, or multiply this one out first with `lowrank expand`.',
  ];
  if (graph !== undefined) {
    if ([...tensors.keys()].some((name) => stemOfFactor(name) !== undefined)) refuse(again, instead);
    return;
  }
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
    refuse(again, instead);
  }
}

/**
 * Refuses a checkpoint on whose files another ONNX graph in the folder lies: weights in them will
 * be others.
 *
 * @param todo what the user is to do with a copy of the folder, in one word
 * @throws LowRankError `ERR_UNSUPPORTED`
 */
export async function requireOwnFiles(checkpoint: Checkpoint, todo: string): Promise<void> {
  const [onTop] = await graphsOn(checkpoint);
  if (onTop === undefined) return;
  const why = `${onTop} takes its weights from the same files, which become others`;
  throw new LowRankError('ERR_UNSUPPORTED', `${checkpoint.path}: ${why}`, {
    hint: `${todo} a copy of the folder without ${onTop}.`,
  });
}
