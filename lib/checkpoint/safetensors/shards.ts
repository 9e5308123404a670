import { isUtf8 } from 'node:buffer';
import { basename, dirname } from 'node:path';
import { CheckpointError, describe } from '../../errors.js';
import { readSmallFile } from '../../files/files.js';
import { JsonReader } from '../../files/json.js';
import { MAX_INDEX_BYTES, MAX_SHARDS } from '../../files/limits.js';

const INDEX_ENDING = '.safetensors.index.json';

/** The weight files of a checkpoint. */
export interface Weights {
  readonly folder: string;
  /** Plain names in `folder`, sorted. */
  readonly files: readonly string[];
  /** Of a sharded checkpoint: the index, and the file that it names for each tensor. */
  readonly index: { readonly file: string; readonly weightMap: ReadonlyMap<string, string> } | undefined;
}

/** Whether a file is called like the index of a sharded checkpoint. */
export function isIndexName(name: string): boolean {
  return name.endsWith(INDEX_ENDING);
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
  const hint = isIndexName(file) ? undefined : 'Give the folder of the model, or a file of its weights.';
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
