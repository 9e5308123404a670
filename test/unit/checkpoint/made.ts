import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError, LowRankError } from '../../../lib/errors.js';

export { temporaryFolder } from '../../support/folder.js';

/** The bytes of a safetensors file, right or wrong: the length, the header as given, the data. */
export function made(header: string | Uint8Array | object, data: string | Uint8Array = ''): Buffer {
  const text =
    typeof header === 'string' || header instanceof Uint8Array
      ? Buffer.from(header as string)
      : Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.from(data as string)]);
}

/** Writes files into a folder. */
export async function fill(folder: string, files: Record<string, string | Uint8Array>): Promise<void> {
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
}

/** The error that something fails with; it must be one of this package. */
export async function failure(action: Promise<unknown>): Promise<LowRankError> {
  try {
    await action;
  } catch (error) {
    if (error instanceof LowRankError) return error;
    throw error;
  }
  throw new Error('expected a failure');
}

/** The `kind` of a checkpoint error, or the `code` of another one. */
export async function kind(action: Promise<unknown>): Promise<string> {
  const error = await failure(action);
  return error instanceof CheckpointError ? error.kind : error.code;
}
