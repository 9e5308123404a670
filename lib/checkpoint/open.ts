import { stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { CheckpointError, describe, LowRankError } from '../errors.js';
import type { StoredType } from '../tensor/dtype.js';
import type { Checkpoint, FileLayout, TensorInfo } from './checkpoint.js';
import { exists, ioError, openFile, readAt, readSmallFile } from './files.js';
import { findWeights, readIndex, type Weights } from './folder.js';
import { inPlaceLayout } from './layout.js';
import { MAX_CONFIG_BYTES } from './limits.js';
import { SafetensorsFile } from './safetensors.js';
import type { TensorSpan } from './safetensors-header.js';

/**
 * Opens a checkpoint: a safetensors file of any name, a folder of Hugging Face's layout with one or with several weight
 * files, or the index of several (then the folder it lies in is what was opened). What a file is, its first bytes say.
 * Headers are read and checked; data are read when asked for. Close it after use.
 *
 * `config.json` is read from the folder of the weights. Python writes `Infinity` and `NaN` into such files, which is no
 * JSON; they are read as Infinity and null.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` when something cannot be found or read; `ERR_CHECKPOINT_FORMAT` when
 * it breaks the rules of its format, with a `kind`: those of a safetensors header, of an index (`InvalidIndex`,
 * `UnsafeFileName`, `TensorNotInShard`, `TensorNotInIndex`, `TensorInTwoShards`), `InvalidConfig`, `GitLfsPointer`.
 * @throws {@link LowRankError} `ERR_UNSUPPORTED` for the files of other programs.
 */
export async function open(path: string): Promise<Checkpoint> {
  const absolute = resolve(path);
  let isFolder: boolean;
  try {
    isFolder = (await stat(absolute)).isDirectory();
  } catch (cause) {
    throw ioError(absolute, 'cannot be opened', cause);
  }
  if (isFolder) return openWeights(absolute, await findWeights(absolute));
  if ((await sniff(absolute)) === 'index') return openWeights(dirname(absolute), await readIndex(absolute));
  return openWeights(absolute, { folder: dirname(absolute), files: [basename(absolute)], index: undefined });
}

async function openWeights(path: string, weights: Weights): Promise<Checkpoint> {
  const config = await readConfig(join(weights.folder, 'config.json'));
  const files = new Map<string, SafetensorsFile>();
  try {
    for (const name of weights.files) files.set(name, await openShard(weights, name));
    return new SafetensorsCheckpoint(path, config, files, locateTensors(weights, files));
  } catch (cause) {
    await closeAll(files);
    throw cause;
  }
}

async function openShard({ folder, index }: Weights, name: string): Promise<SafetensorsFile> {
  const file = join(folder, name);
  try {
    await sniff(file);
    return await SafetensorsFile.open(file);
  } catch (cause) {
    if (index === undefined || !(cause instanceof CheckpointError) || cause.kind !== 'NotFound') throw cause;
    throw new CheckpointError('ERR_CHECKPOINT_IO', 'MissingShard', file, `is not there, but ${index.file} names it`, {
      hint: 'Download the missing file.',
      cause,
    });
  }
}

/** A tensor's place: the file and the span in it. */
interface Place {
  readonly info: TensorInfo;
  readonly file: SafetensorsFile;
  readonly span: TensorSpan;
}

/** Lists the tensors of all files, and holds a sharded checkpoint's index against what the files have. */
function locateTensors({ folder, index }: Weights, files: ReadonlyMap<string, SafetensorsFile>): Map<string, Place> {
  const fault = (kind: string, name: string, message: string) =>
    new CheckpointError('ERR_CHECKPOINT_FORMAT', kind, join(folder, name), message, {
      hint: 'The index and the files belong to different models, or one was changed: download or write all of them again.',
    });
  const places = new Map<string, Place>();
  for (const [name, file] of files) {
    for (const span of file.header.tensors) {
      const other = places.get(span.name);
      if (other !== undefined) {
        throw fault('TensorInTwoShards', name, `has the tensor ${describe(span.name)}, and so has ${other.info.file}`);
      }
      if (index !== undefined && !index.weightMap.has(span.name)) {
        throw fault(
          'TensorNotInIndex',
          name,
          `has the tensor ${describe(span.name)}, which ${index.file} does not name`,
        );
      }
      const { dtype, shape, begin, end } = span;
      const info = { name: span.name, dtype, shape, bytes: end - begin, file: name, offset: file.offset(span) };
      places.set(span.name, { info, file, span });
    }
  }
  for (const [tensor, name] of index?.weightMap ?? []) {
    const actual = places.get(tensor)?.info.file;
    if (actual !== name) {
      const message = `does not have the tensor ${describe(tensor)}, which ${index!.file} says is in it`;
      throw fault('TensorNotInShard', name, actual === undefined ? message : `${message}; ${actual} has it`);
    }
  }
  return places;
}

class SafetensorsCheckpoint implements Checkpoint {
  readonly format = 'safetensors';
  readonly tensors: ReadonlyMap<string, TensorInfo>;

  constructor(
    readonly path: string,
    readonly config: Readonly<Record<string, unknown>> | undefined,
    private readonly files: ReadonlyMap<string, SafetensorsFile>,
    private readonly places: ReadonlyMap<string, Place>,
  ) {
    this.tensors = new Map([...places].map(([name, { info }]) => [name, info]));
  }

  async read(name: string): Promise<Uint8Array> {
    const place = this.places.get(name);
    if (place === undefined) {
      throw new LowRankError('ERR_NOT_FOUND', `${this.path}: no tensor is called ${describe(name)}`, {
        hint: `It has ${this.tensors.size} tensors; \`lowrank inspect\` lists them.`,
      });
    }
    return place.file.read(place.span);
  }

  layout(edited: ReadonlyMap<string, StoredType>): readonly FileLayout[] {
    return inPlaceLayout(this, edited);
  }

  close(): Promise<void> {
    return closeAll(this.files);
  }
}

async function closeAll(files: ReadonlyMap<string, SafetensorsFile>): Promise<void> {
  await Promise.all([...files.values()].map((file) => file.close()));
}

/** Says what a file is by its first bytes; refuses by name what is known to be something else. */
async function sniff(file: string): Promise<'safetensors' | 'index'> {
  const { handle, size } = await openFile(file);
  let start: Buffer;
  try {
    start = Buffer.from(await readAt(handle, file, 0, Math.min(size, 64)));
  } finally {
    await handle.close();
  }
  // A header's length of at most 100 million leaves the upper half of its 8 bytes zero; no text has zeros there.
  if (start.length >= 8 && start.readUInt32LE(4) === 0) return 'safetensors';
  const text = start.toString('latin1');
  if (text.trimStart().startsWith('{')) return 'index';
  if (text.startsWith('version https://git-lfs')) {
    throw new CheckpointError(
      'ERR_CHECKPOINT_FORMAT',
      'GitLfsPointer',
      file,
      'is a pointer of Git LFS, not the weights',
      {
        hint: 'Run `git lfs pull` in the folder.',
      },
    );
  }
  const other = OTHER_FORMATS.find(({ magic }) => magic.test(text));
  if (other !== undefined) throw new LowRankError('ERR_UNSUPPORTED', `${file}: is ${other.what}`, { hint: other.hint });
  return 'safetensors';
}

const OTHER_FORMATS = [
  { magic: /^GGUF/, what: 'a GGUF file', hint: 'Give the safetensors files that it was made from.' },
  {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the first bytes of such files.
    magic: /^(PK\x03\x04|\x80[\x02-\x05])/,
    what: 'a zip or pickle file, as PyTorch saves it',
    hint: 'Save it as safetensors: in Python, save_pretrained(folder, safe_serialization=True).',
  },
];

/** Reads `config.json`, which need not be there. */
async function readConfig(file: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (!(await exists(file))) return undefined;
  const text = Buffer.from(await readSmallFile(file, MAX_CONFIG_BYTES)).toString('utf8');
  let config: unknown;
  try {
    config = parseWithPythonNumbers(text);
  } catch (cause) {
    throw new CheckpointError(
      'ERR_CHECKPOINT_FORMAT',
      'InvalidConfig',
      file,
      `is no valid JSON: ${describe((cause as Error).message)}`,
      {
        hint: 'Repair it, or move it away: the weights can be read without it.',
        cause,
      },
    );
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidConfig', file, 'expected a JSON object');
  }
  return config as Record<string, unknown>;
}

function parseWithPythonNumbers(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    // Strings are matched too, and put back, so that only bare words are replaced.
    const replaced = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|\bInfinity\b|\bNaN\b/gs, (token) =>
      token === 'Infinity' ? '1e999' : token === 'NaN' ? 'null' : token,
    );
    if (replaced === text) throw cause;
    return JSON.parse(replaced);
  }
}
