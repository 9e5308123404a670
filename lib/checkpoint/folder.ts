import { isUtf8 } from 'node:buffer';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckpointError, describe } from '../errors.js';
import { ioError, readSmallFile } from '../files/files.js';
import { JsonReader } from '../files/json.js';
import { MAX_INDEX_BYTES, MAX_SHARDS } from '../files/limits.js';
import { parseSplitName, splitName } from './gguf/split-name.js';
import { onnxModels } from './onnx/find.js';
import { otherWeights } from './other-formats.js';

const WEIGHTS = 'model.safetensors';
const INDEX_ENDING = '.safetensors.index.json';

/** Which files of a folder make the checkpoint. */
export interface Weights {
  readonly folder: string;
  /** Plain names in `folder`, sorted. */
  readonly files: readonly string[];
  /** Of a sharded checkpoint: the index, and the file that it names for each tensor. */
  readonly index: { readonly file: string; readonly weightMap: ReadonlyMap<string, string> } | undefined;
}

/**
 * Finds the weights in a folder: `model.safetensors`, else `model.safetensors.index.json` with its shards, else the only
 * index, else the only `.safetensors` file. That is the order of transformers. Without any of these, the only `.gguf` file
 * or the only set of split ones, of which the first stands for all; then `model.onnx` or the only `.onnx` file, here or in
 * the folder `onnx`. Hidden files do not count.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` with kind `NoWeights` or `AmbiguousWeights`, or as {@link readIndex}.
 */
export async function findWeights(folder: string): Promise<Weights> {
  const names = await visibleNames(folder);
  if (names.includes(WEIGHTS)) return { folder, files: [WEIGHTS], index: undefined };
  const indexes = names.filter((name) => name.endsWith(INDEX_ENDING));
  const standard = indexes.find((name) => name === `model${INDEX_ENDING}`);
  if (standard !== undefined) return readIndex(join(folder, standard));
  const safetensors = names.filter((name) => name.endsWith('.safetensors'));
  const choices = [indexes, safetensors, firstsOfGguf(names), await onnxModels(folder, names)].find(
    (found) => found.length > 0,
  );
  if (choices === undefined) throw noWeights(folder, names);
  if (choices.length > 1) {
    const message = `has several weights (${choices.slice(0, 5).map(describe).join(', ')}) and none is called ${WEIGHTS}`;
    throw new CheckpointError('ERR_CHECKPOINT_IO', 'AmbiguousWeights', folder, message, {
      hint: 'Give the path of the one that you mean.',
    });
  }
  if (choices === indexes) return readIndex(join(folder, indexes[0]!));
  return { folder, files: choices, index: undefined };
}

function noWeights(folder: string, names: readonly string[]): CheckpointError {
  const other = otherWeights(names);
  const listed = other?.names.slice(0, 3).map(describe).join(', ');
  const but = other && `, but ${listed}${other.names.length > 3 ? ', ...' : ''}, whose format is not read here`;
  return new CheckpointError(
    'ERR_CHECKPOINT_IO',
    'NoWeights',
    folder,
    `has no .safetensors, .gguf or .onnx file${but ?? ''}`,
    { hint: other?.hint ?? 'Give a folder with model.safetensors, or a .safetensors, .gguf or .onnx file.' },
  );
}

/**
 * The models of one format that a folder holds, relative to it, whatever else is there; of a split one the first file.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` when it cannot be listed.
 */
export async function modelsIn(folder: string, format: 'gguf' | 'onnx'): Promise<string[]> {
  const names = await visibleNames(folder);
  return format === 'gguf' ? firstsOfGguf(names) : onnxModels(folder, names);
}

async function visibleNames(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  } catch (cause) {
    throw ioError(folder, 'cannot be listed', cause);
  }
}

/** The GGUF models among the names of a folder: of the files of a split one, the first that is there. */
function firstsOfGguf(sortedNames: readonly string[]): string[] {
  const firsts = new Map<string, string>();
  for (const name of sortedNames) {
    if (!name.endsWith('.gguf')) continue;
    const split = parseSplitName(name);
    const model = split === undefined ? name : splitName({ ...split, number: 0 });
    if (!firsts.has(model)) firsts.set(model, name);
  }
  return [...firsts.values()];
}

/**
 * Reads the index of a sharded checkpoint, `{ "metadata": ..., "weight_map": { tensor: file } }`.
 *
 * A file must be a plain name in the index's own folder. That refuses all that could lead elsewhere by its letters:
 * absolute paths, `..`, separators of any system, drive letters. Links are followed, because the caches of Hugging Face are made
 * of links from `snapshots/<revision>/` to `blobs/`: an index can choose among the files of the folder that the user
 * opened, but cannot name others.
 *
 * @throws {@link CheckpointError} kinds `InvalidIndex`, `UnsafeFileName`, `TooManyShards`, `FileTooLarge`.
 */
export async function readIndex(file: string): Promise<Weights> {
  // Any JSON file is taken for an index.
  const hint = file.endsWith(INDEX_ENDING) ? undefined : 'Give the folder of the model, or a file of its weights.';
  const invalid = (message: string): never => {
    throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidIndex', file, message, { hint });
  };
  const bytes = await readSmallFile(file, MAX_INDEX_BYTES);
  if (!isUtf8(bytes)) invalid('is not valid UTF-8');
  const json = new JsonReader(bytes, (message) => invalid(`is no valid index of shards: ${message}`));
  let weightMap: Map<string, string> | undefined;
  const files = new Set<string>();
  json.object((key) => {
    if (key !== 'weight_map') return json.skip();
    if (weightMap !== undefined) json.fault('weight_map stands there twice');
    const map = new Map<string, string>();
    json.object((tensor) => {
      if (map.has(tensor)) json.fault(`the tensor ${describe(tensor)} stands there twice`);
      const shard = json.string();
      if (!isPlainName(shard)) {
        const message = `${describe(tensor)} is said to lie in ${describe(shard)}, which is no plain file name`;
        throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'UnsafeFileName', file, message, {
          hint: 'Shards must lie in the folder of their index.',
        });
      }
      map.set(tensor, shard);
      if (files.add(shard).size > MAX_SHARDS) {
        throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'TooManyShards', file, `names over ${MAX_SHARDS} files`);
      }
    });
    weightMap = map;
  });
  json.end();
  if (weightMap === undefined) return invalid('has no weight_map');
  if (files.size === 0) invalid('names no tensor');
  return { folder: dirname(file), files: [...files].sort(), index: { file: basename(file), weightMap } };
}

/** A name without any meaning but itself, on every operating system. */
function isPlainName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it must refuse.
  return name.length <= 255 && !/^\.{0,2}$|[/\\:\u0000-\u001f]/.test(name);
}
