import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '../errors.js';
import { absolutePath, ioError } from '../files/files.js';
import type { Checkpoint } from './checkpoint.js';
import { findWeights } from './folder.js';
import { formatNamed } from './formats.js';
import { openSafetensors } from './safetensors/checkpoint.js';
import { readIndex } from './safetensors/shards.js';
import { sniff } from './sniff.js';

/**
 * Opens a checkpoint: a safetensors, GGUF or ONNX file of any name, a folder in Hugging Face's
 * layout with one or several weight files, the index of several, one file of a split GGUF model, or
 * an ONNX model with external data (for the last three, `path` becomes their folder). The first
 * bytes of a file decide its format. Headers are read and checked; data are read on request. Close
 * it after use.
 *
 * For safetensors, `config.json` is read from the folder of the weights. Python writes `Infinity`
 * and `NaN` into such files, which is not valid JSON; they are read as Infinity and null. For GGUF,
 * the file's own metadata contain the same.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` if something cannot be found or read;
 *   `ERR_CHECKPOINT_FORMAT` if it breaks the rules of its format, with a `kind`: those of a
 *   safetensors header, of an index (`InvalidIndex`, `UnsafeFileName`, `TensorNotInShard`,
 *   `TensorNotInIndex`, `TensorInTwoShards`), of a GGUF header, of an ONNX model (`openOnnx`),
 *   `InvalidConfig`, `GitLfsPointer`.
 * @throws {@link LowRankError} `ERR_UNSUPPORTED` for the files of other programs.
 */
export async function open(path: string): Promise<Checkpoint> {
  const absolute = absolutePath(path);
  if (!(await isFolder(absolute))) return openFile(absolute, absolute);
  const weights = await findWeights(absolute);
  if (weights.index !== undefined) return openSafetensors(absolute, weights, { check: sniff });
  return openFile(absolute, join(absolute, weights.files[0]!));
}

async function openFile(path: string, file: string): Promise<Checkpoint> {
  const content = await sniff(file);
  if (content !== 'index') return formatNamed(content).open(path, file, sniff);
  const weights = await readIndex(file);
  const { folder } = weights;
  const main = (await opensAs(folder, file)) ? folder : file;
  return openSafetensors(folder, weights, { main, check: sniff });
}

/** Whether a folder opens as the model that this file in it is or starts. */
export async function opensAs(folder: string, file: string): Promise<boolean> {
  try {
    const { files, index } = await findWeights(folder);
    return join(folder, index?.file ?? files[0]!) === file;
  } catch (cause) {
    if (cause instanceof CheckpointError) return false;
    throw cause;
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw ioError(path, 'cannot be opened', cause);
  }
}
