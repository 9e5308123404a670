import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Format } from '../../checkpoint/checkpoint.js';
import { modelsIn } from '../../checkpoint/folder.js';
import { LowRankError } from '../../errors.js';

/**
 * Finds the file that an engine runs: the file itself, or the only one of the format in the folder.
 *
 * @throws LowRankError `ERR_ENGINE`, `ERR_CHECKPOINT_IO`.
 */
export async function findModel(path: string, format: Format): Promise<string> {
  const absolute = resolve(path);
  if (!(await isFolder(absolute))) return absolute;
  const models = await modelsIn(absolute, format);
  if (models.length === 1) return join(absolute, models[0]!);
  const found = models.length === 0 ? `has no .${format} file` : `has several .${format} files: ${models.join(', ')}`;
  throw new LowRankError('ERR_ENGINE', `${path}: ${found}`, { hint: `Pass the path of the .${format} file.` });
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw new LowRankError('ERR_ENGINE', `${path}: cannot be opened`, { hint: 'Check the path.', cause });
  }
}
