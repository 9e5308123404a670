import { dirname, join } from 'node:path';
import { CheckpointError, describe } from '../../errors.js';
import type { Checkpoint, FileLayout, TensorChange, TensorInfo } from '../checkpoint.js';
import type { FileCheck } from '../format.js';
import { typesOnly, unknownTensor } from '../layout.js';
import { configOf } from './config.js';
import type { GgufFile } from './file.js';
import type { GgufTensor } from './header.js';
import { ggufLayout } from './layout.js';
import { closeAll, type GgufFiles, openFiles } from './split.js';

/**
 * Opens a GGUF model: a file, and all others if it belongs to a split model.
 *
 * @param path the absolute path that was opened: the file or its folder. For a split model the
 *   folder counts in both cases.
 * @param check for the other files of a split model
 * @throws {@link CheckpointError} with the kinds of a GGUF header, `MissingShard`, `InvalidSplit`,
 *   `TensorInTwoShards`.
 */
export async function openGguf(path: string, file: string, check: FileCheck): Promise<Checkpoint> {
  const files = await openFiles(file, check);
  try {
    const folder = dirname(file);
    const [first] = files.keys();
    const located = locateTensors(folder, files);
    return new GgufCheckpoint(files.size > 1 ? folder : path, join(folder, first!), files, located);
  } catch (cause) {
    await closeAll(files);
    throw cause;
  }
}

/** A tensor's file, and its description there. */
interface LocatedTensor {
  readonly info: TensorInfo;
  readonly file: GgufFile;
  readonly tensor: GgufTensor;
}

function locateTensors(folder: string, files: GgufFiles): Map<string, LocatedTensor> {
  const located = new Map<string, LocatedTensor>();
  for (const [fileName, file] of files) {
    for (const tensor of file.header.tensors) {
      const { name, type: dtype, shape, bytes, offset } = tensor;
      const other = located.get(name);
      if (other !== undefined) {
        const message = `has the tensor ${describe(name)}, and so does ${other.info.file}`;
        throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'TensorInTwoShards', join(folder, fileName), message, {
          hint: 'The files may belong to different models: download or split all of them again.',
        });
      }
      located.set(name, { info: { name, dtype, shape, bytes, file: fileName, offset }, file, tensor });
    }
  }
  return located;
}

const NO_FACTORS = {
  why: 'llama.cpp finds tensors by name and shape, and has no layer of two factors',
  hint: 'Write the product of the factors as one tensor, or start from the safetensors files of the model.',
};

class GgufCheckpoint implements Checkpoint {
  readonly format = 'gguf';
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly config: Readonly<Record<string, unknown>> | undefined;

  constructor(
    readonly path: string,
    readonly main: string,
    private readonly files: GgufFiles,
    private readonly located: ReadonlyMap<string, LocatedTensor>,
  ) {
    this.tensors = new Map([...located].map(([name, { info }]) => [name, info]));
    const [first] = files.values();
    this.config = configOf(first!.header.metadata);
  }

  async read(name: string): Promise<Uint8Array> {
    const found = this.located.get(name);
    if (found === undefined) throw unknownTensor(this, name);
    return found.file.read(found.tensor);
  }

  layout(changes: ReadonlyMap<string, TensorChange>): readonly FileLayout[] {
    return ggufLayout(this.files, typesOnly(this, changes, NO_FACTORS));
  }

  close(): Promise<void> {
    return closeAll(this.files);
  }
}
