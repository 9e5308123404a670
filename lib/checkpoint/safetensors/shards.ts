import { isUtf8 } from 'node:buffer';
import { basename, dirname } from 'node:path';
import { CheckpointError, describe } from '../../errors.js';
import { readSmallFile } from '../../files/files.js';
import { JsonReader } from '../../files/json.js';
import { MAX_INDEX_BYTES, MAX_SHARDS } from '../../files/limits.js';
import { elements } from '../../tensor/tensor.js';
import type { TensorLayout } from './header.js';

const INDEX_ENDING = '.safetensors.index.json';

/** The index of a sharded checkpoint. */
export interface Index {
  /** A plain name in the folder of the shards. */
  readonly file: string;
  /** The file of each tensor. */
  readonly weightMap: ReadonlyMap<string, string>;
  /** Its other members, such as `metadata`, each as its JSON text. */
  readonly others: ReadonlyMap<string, string>;
}

/** The weight files of a checkpoint. */
export interface Weights {
  readonly folder: string;
  /** Plain names in `folder`, sorted. */
  readonly files: readonly string[];
  /** Undefined unless the checkpoint is sharded. */
  readonly index: Index | undefined;
}

/** Whether a file has the name of a sharded checkpoint's index. */
export function isIndexName(name: string): boolean {
  return name.endsWith(INDEX_ENDING);
}

/**
 * Reads the index of a sharded checkpoint, `{ "metadata": ..., "weight_map": { tensor: file } }`.
 *
 * A file must be a plain name in the index's own folder. That refuses every name that could lead
 * elsewhere: absolute paths, `..`, separators of any system, drive letters. Links are followed,
 * because the caches of Hugging Face consist of links from `snapshots/<revision>/` to `blobs/`: an
 * index can choose among the files of the folder that the user opened, but cannot name others.
 *
 * @throws {@link CheckpointError} kinds `InvalidIndex`, `UnsafeFileName`, `TooManyShards`,
 *   `FileTooLarge`.
 */
export async function readIndex(file: string): Promise<Weights> {
  // Any JSON file is treated as an index.
  const hint = isIndexName(file) ? undefined : 'Pass the folder of the model, or a file of its weights.';
  const invalid = (message: string): never => {
    throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidIndex', file, message, { hint });
  };
  const bytes = await readSmallFile(file, MAX_INDEX_BYTES);
  if (!isUtf8(bytes)) invalid('is not valid UTF-8');
  const json = new JsonReader(bytes, (message) => invalid(`is not a valid index of shards: ${message}`));
  let weightMap: Map<string, string> | undefined;
  const files = new Set<string>();
  const others = new Map<string, string>();
  json.object((key) => {
    if (key !== 'weight_map') {
      others.set(key, json.raw());
      return;
    }
    if (weightMap !== undefined) json.fault('duplicate weight_map');
    const map = new Map<string, string>();
    json.object((tensor) => {
      if (map.has(tensor)) json.fault(`duplicate tensor ${describe(tensor)}`);
      const shard = json.string();
      if (!isPlainName(shard)) {
        const message = `${describe(tensor)} should lie in ${describe(shard)}, which is not a plain file name`;
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
  return { folder: dirname(file), files: [...files].sort(), index: { file: basename(file), weightMap, others } };
}

/**
 * Formats the index of a copy in which tensors are replaced by others in the same file.
 * `total_size` and `total_parameters` of its `metadata` change by as much as the tensors do.
 *
 * @param tensors those of the source
 * @param replacements by the names of the tensors that they replace
 */
export function formatIndex(
  { weightMap, others }: Index,
  tensors: ReadonlyMap<string, Pick<TensorLayout, 'shape' | 'bytes'>>,
  replacements: ReadonlyMap<string, readonly TensorLayout[]>,
): string {
  let [bytes, numbers] = [0, 0];
  const newMap: [string, string][] = [];
  for (const [name, file] of weightMap) {
    const replacement = replacements.get(name);
    newMap.push(...(replacement?.map((tensor): [string, string] => [tensor.name, file]) ?? [[name, file]]));
    if (replacement === undefined) continue;
    const old = tensors.get(name)!;
    bytes += replacement.reduce((sum, tensor) => sum + tensor.bytes, -old.bytes);
    numbers += replacement.reduce((sum, { shape }) => sum + elements(shape), -elements(old.shape));
  }
  const members = [...others].map(([key, text]): [string, unknown] => {
    const value: unknown = JSON.parse(text);
    return [key, key === 'metadata' ? increased(value, { total_size: bytes, total_parameters: numbers }) : value];
  });
  const index = Object.fromEntries([...members, ['weight_map', Object.fromEntries(newMap)]]);
  return `${JSON.stringify(index, null, 2)}\n`;
}

/** Adds to the members of an object that are numbers. */
function increased(value: unknown, by: Readonly<Record<string, number>>): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, old]) => [key, typeof old === 'number' ? old + (by[key] ?? 0) : old]),
  );
}

/** Whether a name has no special meaning on any operating system. */
function isPlainName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it refuses control characters.
  return name.length <= 255 && !/^\.{0,2}$|[/\\:\u0000-\u001f]/.test(name);
}
