import { join } from 'node:path';
import { CheckpointError, describe } from '../../errors.js';
import type { Checkpoint, FileLayout, TensorChange, TensorInfo } from '../checkpoint.js';
import { readConfig } from '../config.js';
import type { FileCheck } from '../format.js';
import { unknownTensor } from '../layout.js';
import { SafetensorsFile } from './file.js';
import type { TensorSpan } from './header.js';
import { safetensorsLayout } from './layout.js';
import type { Index, Weights } from './shards.js';

/**
 * Opens the safetensors files of a checkpoint, and `config.json` beside them.
 *
 * @param path the absolute path that was opened: the file, or the folder of several
 * @param main the path that opens as these files; `path` by default
 * @param check for every file; left out for a single one that has been recognised
 * @throws {@link CheckpointError} with the kinds of a safetensors header, of an index compared with
 *   its files (`TensorNotInShard`, `TensorNotInIndex`, `TensorInTwoShards`, `MissingShard`), and of
 *   {@link readConfig}.
 */
export async function openSafetensors(
  path: string,
  weights: Weights,
  { main = path, check }: { readonly main?: string; readonly check?: FileCheck } = {},
): Promise<Checkpoint> {
  const config = await readConfig(join(weights.folder, 'config.json'));
  const files = new Map<string, SafetensorsFile>();
  try {
    for (const name of weights.files) files.set(name, await openShard(weights, name, check));
    const places = locateTensors(weights, files);
    return new SafetensorsCheckpoint(path, main, config, files, weights.index, places);
  } catch (cause) {
    await closeAll(files);
    throw cause;
  }
}

async function openShard({ folder, index }: Weights, name: string, check?: FileCheck): Promise<SafetensorsFile> {
  const file = join(folder, name);
  try {
    await check?.(file);
    return await SafetensorsFile.open(file);
  } catch (cause) {
    if (index === undefined || !(cause instanceof CheckpointError) || cause.kind !== 'NotFound') throw cause;
    throw new CheckpointError('ERR_CHECKPOINT_IO', 'MissingShard', file, `is missing, but ${index.file} names it`, {
      hint: 'Download the missing file.',
      cause,
    });
  }
}

/** A tensor's file, and the span in it. */
interface LocatedSpan {
  readonly info: TensorInfo;
  readonly file: SafetensorsFile;
  readonly span: TensorSpan;
}

/** Lists the tensors of all files, and compares a sharded checkpoint's index with the files. */
function locateTensors(
  { folder, index }: Weights,
  files: ReadonlyMap<string, SafetensorsFile>,
): Map<string, LocatedSpan> {
  const fault = (kind: string, name: string, message: string) =>
    new CheckpointError('ERR_CHECKPOINT_FORMAT', kind, join(folder, name), message, {
      hint: 'The index and the files belong to different models, or one was changed: download or write all of them again.',
    });
  const places = new Map<string, LocatedSpan>();
  for (const [name, file] of files) {
    for (const span of file.header.tensors) {
      const other = places.get(span.name);
      if (other !== undefined) {
        throw fault('TensorInTwoShards', name, `has the tensor ${describe(span.name)}, and so does ${other.info.file}`);
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
      const message = `does not have the tensor ${describe(tensor)}, which ${index!.file} locates there`;
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
    readonly main: string,
    readonly config: Readonly<Record<string, unknown>> | undefined,
    private readonly files: ReadonlyMap<string, SafetensorsFile>,
    private readonly index: Index | undefined,
    private readonly places: ReadonlyMap<string, LocatedSpan>,
  ) {
    this.tensors = new Map([...places].map(([name, { info }]) => [name, info]));
  }

  async read(name: string): Promise<Uint8Array> {
    const place = this.places.get(name);
    if (place === undefined) throw unknownTensor(this, name);
    return place.file.read(place.span);
  }

  layout(changes: ReadonlyMap<string, TensorChange>): readonly FileLayout[] {
    return safetensorsLayout(this, this.files, this.index, changes);
  }

  close(): Promise<void> {
    return closeAll(this.files);
  }
}

async function closeAll(files: ReadonlyMap<string, SafetensorsFile>): Promise<void> {
  await Promise.all([...files.values()].map((file) => file.close()));
}
