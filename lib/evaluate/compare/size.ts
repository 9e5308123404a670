import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { open } from '../../checkpoint/open.js';
import { findModel } from '../engines/find-model.js';

/** What a model takes on disk. */
export interface ModelSize {
  /** Bytes of the model's file and of the files with its data, without tokenizer and configuration. */
  readonly bytes: number;
  /**
   * Numbers in its tensors, without whole numbers of 32 and 64 bits, which are shapes and indices.
   * Packed weights of ONNX count as the bytes that hold them. Undefined if the file cannot be parsed.
   */
  readonly parameters: number | undefined;
}

const INDICES: ReadonlySet<string> = new Set(['I32', 'I64', 'U32', 'U64', 'BOOL']);

/** Measures the model that an engine runs from a file or folder. */
export async function sizeOfModel(path: string, format: 'gguf' | 'onnx'): Promise<ModelSize> {
  const model = await findModel(path, format);
  const checkpoint = await open(model).catch(() => undefined);
  if (checkpoint === undefined) return { bytes: (await stat(model)).size, parameters: undefined };
  try {
    const tensors = [...checkpoint.tensors.values()];
    const files = new Set([model, ...tensors.map(({ file }) => join(dirname(model), file))]);
    let bytes = 0;
    for (const file of files) bytes += (await stat(file)).size;
    const counted = tensors.filter(({ dtype }) => !INDICES.has(dtype));
    const parameters = counted.reduce((sum, { shape }) => sum + shape.reduce((product, d) => product * d, 1), 0);
    return { bytes, parameters };
  } finally {
    await checkpoint.close();
  }
}
