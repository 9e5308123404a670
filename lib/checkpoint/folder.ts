import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError, describe } from '../errors.js';
import { ioError } from '../files/files.js';
import type { Format } from './checkpoint.js';
import { ENDINGS_IN_WORDS, FORMATS, formatNamed } from './formats.js';
import { otherWeights } from './other-formats.js';
import { isIndexName, readIndex, type Weights } from './safetensors/shards.js';

/**
 * Finds the weights in a folder: `model.safetensors`, otherwise `model.safetensors.index.json` with
 * its shards, otherwise the only index, otherwise the only `.safetensors` file. That is the order
 * of transformers. Without any of these, it takes the only `.gguf` file or the first of the only
 * set of split ones; then `model.onnx` or the only `.onnx` file, here or in the folder `onnx`.
 * Hidden files do not count.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` with kind `NoWeights` or `AmbiguousWeights`,
 *   or as {@link readIndex}.
 */
export async function findWeights(folder: string): Promise<Weights> {
  const names = await visibleNames(folder);
  const choices = await choicesAmong(folder, names);
  const [only] = choices;
  if (only === undefined) throw noWeights(folder, names);
  if (choices.length > 1) {
    const message = `has several weights (${choices.slice(0, 5).map(describe).join(', ')}) and none is named model.safetensors`;
    throw new CheckpointError('ERR_CHECKPOINT_IO', 'AmbiguousWeights', folder, message, {
      hint: 'Pass the path of one of them.',
    });
  }
  return isIndexName(only) ? readIndex(join(folder, only)) : { folder, files: [only], index: undefined };
}

/** Returns the models of the first format of which the folder has any. */
async function choicesAmong(folder: string, names: readonly string[]): Promise<readonly string[]> {
  for (const { models } of FORMATS) {
    const found = await models(folder, names);
    if (found.length > 0) return found;
  }
  return [];
}

function noWeights(folder: string, names: readonly string[]): CheckpointError {
  const other = otherWeights(names);
  const listed = other?.names.slice(0, 3).map(describe).join(', ');
  const but = other && `, but ${listed}${other.names.length > 3 ? ', ...' : ''}, whose format is not supported`;
  return new CheckpointError('ERR_CHECKPOINT_IO', 'NoWeights', folder, `has no ${ENDINGS_IN_WORDS} file${but ?? ''}`, {
    hint: other?.hint ?? `Pass a folder with model.safetensors, or a ${ENDINGS_IN_WORDS} file.`,
  });
}

/**
 * Lists the models of one format in a folder, relative to it, whatever else it contains; for a
 * split model the first file.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` if it cannot be listed.
 */
export async function modelsIn(folder: string, format: Format): Promise<readonly string[]> {
  return formatNamed(format).models(folder, await visibleNames(folder));
}

async function visibleNames(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  } catch (cause) {
    throw ioError(folder, 'cannot be listed', cause);
  }
}
