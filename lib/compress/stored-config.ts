import { join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { CheckpointError } from '../errors.js';
import { readSmallFile } from '../files/files.js';
import { withMember, withoutMember } from '../files/json-members.js';
import { MAX_CONFIG_BYTES } from '../files/limits.js';
import { aName, aWhole, expected, list, object, oneOf, optional } from '../files/schema.js';
import type { Storage } from './ranks.js';

/** What config.json of a compressed safetensors checkpoint says under the key `lowrank`. */
export interface StoredConfig {
  readonly version: number;
  readonly storage: Storage;
  /** The modules whose weights are factors, and their ranks. */
  readonly layers: Readonly<Record<string, number>>;
  /**
   * Those of them whose weight W lay as [in, out], for a layer that computes x W; left out if there
   * are none.
   */
  readonly transposed?: readonly string[];
}

const KEY = 'lowrank';
const CONFIG = 'config.json';
const VERSION = 1;

const STORED = object({
  version: aWhole(1),
  storage: oneOf('factors', 'pivoted'),
  layers: (value, at) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return expected('an object', value, at);
    const checks = Object.keys(value).map((module) => [module, aWhole(1)] as const);
    return object(Object.fromEntries(checks))(value, at);
  },
  transposed: optional(list(aName)),
});

/**
 * Returns what config.json says of layers that are factors; undefined if it says nothing.
 *
 * @throws CheckpointError `ERR_CHECKPOINT_FORMAT`, kind `InvalidConfig`, for something else than
 *   this version writes.
 */
export function storedConfig({ path, config }: Checkpoint): StoredConfig | undefined {
  const value = config?.[KEY];
  if (value === undefined) return undefined;
  const fault = (message: string, hint: string) =>
    new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidConfig', join(path, CONFIG), message, { hint });
  const message = STORED(value, KEY);
  if (message !== undefined) throw fault(message, 'Restore the file that lowrank wrote.');
  const stored = value as StoredConfig;
  if (stored.version > VERSION) {
    throw fault(`${KEY}: version ${stored.version} is not known here`, 'Update the package lowrank.');
  }
  return stored;
}

/** Returns the text of config.json with the key, as a small file of a copy. */
export async function configWith(checkpoint: Checkpoint, stored: Omit<StoredConfig, 'version'>): Promise<SmallFile> {
  const text = await configText(checkpoint);
  return [CONFIG, Buffer.from(withMember(text, KEY, { version: VERSION, ...stored }))];
}

/** Returns the text of config.json without the key. */
export async function configWithout(checkpoint: Checkpoint): Promise<SmallFile> {
  return [CONFIG, Buffer.from(withoutMember(await configText(checkpoint), KEY))];
}

type SmallFile = readonly [name: string, bytes: Uint8Array];

async function configText({ path }: Checkpoint): Promise<string> {
  return Buffer.from(await readSmallFile(join(path, CONFIG), MAX_CONFIG_BYTES)).toString('utf8');
}
