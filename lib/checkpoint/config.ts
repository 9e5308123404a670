import { dirname } from 'node:path';
import { CheckpointError, describe } from '../errors.js';
import { exists, readSmallFile, statusOf } from '../files/files.js';
import { MAX_CONFIG_BYTES } from '../files/limits.js';

/**
 * Reads `config.json`, which may be missing. Python writes `Infinity` and `NaN` into such files,
 * which is not valid JSON; they are read as Infinity and null.
 *
 * @throws {@link CheckpointError} kinds `InvalidConfig`, `FileTooLarge`; `ERR_CHECKPOINT_IO` if its
 *   folder does not exist.
 */
export async function readConfig(file: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (!(await exists(file))) {
    // If the folder itself is gone, the file may exist: without it a model has another family, or
    // none.
    await statusOf(dirname(file));
    if (!(await exists(file))) return undefined;
  }
  const text = Buffer.from(await readSmallFile(file, MAX_CONFIG_BYTES)).toString('utf8');
  let config: unknown;
  try {
    config = parseWithPythonNumbers(text);
  } catch (cause) {
    throw new CheckpointError(
      'ERR_CHECKPOINT_FORMAT',
      'InvalidConfig',
      file,
      `is not valid JSON: ${describe((cause as Error).message)}`,
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
    // Strings are matched too, and kept, so that only bare words are replaced.
    const replaced = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|\bInfinity\b|\bNaN\b/gs, (token) =>
      token === 'Infinity' ? '1e999' : token === 'NaN' ? 'null' : token,
    );
    if (replaced === text) throw cause;
    return JSON.parse(replaced);
  }
}
