import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { open } from '../../checkpoint/open.js';
import { findModel } from '../engines/find-model.js';

/** The size of a model on disk. */
export interface ModelSize {
  /** Bytes of the model's file and its data files, without tokenizer and configuration. */
  readonly bytes: number;
  /**
   * The number of elements of its tensors. Booleans and integers of 32 and 64 bits do not count,
   * since they are shapes, indices and masks. Weights that ONNX packs into bytes count as bytes.
   * Undefined if the file cannot be parsed.
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
