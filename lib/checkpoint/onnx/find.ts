import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError } from '../../files/files.js';

export const ONNX_ENDING = '.onnx';
const STANDARD = 'model.onnx';
/** The folder in which optimum and transformers.js put models. */
const INNER = 'onnx';

/**
 * Lists the ONNX models that a folder may mean, relative to it: `model.onnx` if there is one,
 * otherwise all; without any, those of its folder `onnx`.
 *
 * @param names of the folder's entries
 */
export async function onnxModels(folder: string, names: readonly string[]): Promise<string[]> {
  const own = modelsAmong(names);
  if (own.length > 0 || !names.includes(INNER)) return own;
  try {
    return modelsAmong(await readdir(join(folder, INNER))).map((name) => `${INNER}/${name}`);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOTDIR') return [];
    throw ioError(join(folder, INNER), 'cannot be listed', cause);
  }
}

function modelsAmong(names: readonly string[]): string[] {
  if (names.includes(STANDARD)) return [STANDARD];
  return names.filter((name) => name.endsWith(ONNX_ENDING) && !name.startsWith('.')).sort();
}
