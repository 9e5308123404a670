import { realpath } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { CheckpointError, describe } from '../../errors.js';
import { ioError, openFile } from '../../files/files.js';
import { MAX_SHARDS } from '../../files/limits.js';

/** A file of external data, as it was when the model was opened. */
export interface DataFile {
  /** Its path relative to the model's folder, with slashes. */
  readonly location: string;
  /** Its resolved path. */
  readonly path: string;
  readonly size: number;
}

/** The position of an initialiser's numbers in a file of external data. */
export interface ExternalPlace {
  readonly file: DataFile;
  readonly offset: number;
}

/**
 * Finds the external data of a model's initialisers. The model itself names the files, so it could
 * name any file of the machine: only files in the folder of the model are accepted, and no links to
 * other places even inside it, as in onnxruntime.
 */
export class ExternalFiles {
  readonly #files = new Map<string, DataFile>();
  readonly #folder: string;

  constructor(private readonly model: string) {
    this.#folder = dirname(model);
  }

  /**
   * Returns the place of `bytes` bytes that the entries of `external_data` describe.
   *
   * @throws CheckpointError kinds `InvalidExternalData`, `UnsafeFileName`, `MissingShard`,
   *   `TooManyShards`, `InvalidDataLength`, or as {@link openFile} does.
   */
  async place(name: string, entries: ReadonlyMap<string, string>, bytes: number): Promise<ExternalPlace> {
    const at = describe(name);
    const location = entries.get('location');
    if (location === undefined)
      throw this.#fault('InvalidExternalData', `${at} lies in another file, but none is named`);
    const file = this.#files.get(location) ?? (await this.#find(location, at));
    const offset = this.#number(entries, 'offset', at) ?? 0;
    // Without a length the data continue to the end of the file.
    const length = this.#number(entries, 'length', at) ?? Math.max(0, file.size - offset);
    if (length !== bytes) {
      throw this.#fault(
        'InvalidDataLength',
        `${at} has ${length} bytes in ${describe(location)}, but its shape takes ${bytes}`,
      );
    }
    if (offset + length > file.size) {
      const message = `${at} should lie at bytes ${offset} to ${offset + length} of ${describe(location)}, which has ${file.size}`;
      throw this.#fault('InvalidDataLength', message, 'The file is probably truncated, or belongs to another model.');
    }
    return { file, offset };
  }

  async #find(location: string, at: string): Promise<DataFile> {
    if (!isPlainPath(location)) {
      const message = `${at} should lie in ${describe(location)}, which is not a plain path`;
      throw this.#fault('UnsafeFileName', message, 'External data must lie in the folder of the model.');
    }
    if (this.#files.size === MAX_SHARDS) {
      throw this.#fault('TooManyShards', `has its data in more than ${MAX_SHARDS} files`);
    }
    const named = join(this.#folder, location);
    const [folder, path, model] = [await real(this.#folder), await this.#present(named), await real(this.model)];
    if (!path.startsWith(folder.endsWith(sep) ? folder : folder + sep)) {
      const message = `${at} should lie in ${describe(location)}, a link to ${describe(path)} outside the model's folder`;
      throw this.#fault(
        'UnsafeFileName',
        message,
        'Put the file itself there: cp -rL copies a folder without its links.',
      );
    }
    if (path === model) throw this.#fault('UnsafeFileName', `${at} should lie in the model's file itself`);
    const { handle, size } = await openFile(path);
    await handle.close();
    const file = { location, path, size };
    this.#files.set(location, file);
    return file;
  }

  async #present(path: string): Promise<string> {
    try {
      return await realpath(path);
    } catch (cause) {
      const fault = ioError(path, 'cannot be opened', cause);
      if (!(fault instanceof CheckpointError) || fault.kind !== 'NotFound') throw fault;
      throw new CheckpointError('ERR_CHECKPOINT_IO', 'MissingShard', path, `is missing, but ${this.model} names it`, {
        hint: 'Download the missing file, and keep its name: the model refers to it.',
        cause,
      });
    }
  }

  #number(entries: ReadonlyMap<string, string>, key: string, at: string): number | undefined {
    const text = entries.get(key);
    if (text === undefined) return undefined;
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value)) return value;
    throw this.#fault(
      'InvalidExternalData',
      `${at}: ${key} of its external data is ${describe(text)}, expected a whole number`,
    );
  }

  #fault(kind: string, message: string, hint?: string): CheckpointError {
    return new CheckpointError('ERR_CHECKPOINT_FORMAT', kind, this.model, message, { hint });
  }
}

/**
 * Whether this is a relative path downwards, with slashes, that means the same on every operating
 * system.
 */
function isPlainPath(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it refuses control characters.
  if (/[\\:\u0000-\u001f]/.test(path)) return false;
  return path.split('/').every((part) => part !== '' && part !== '.' && part !== '..' && part.length <= 255);
}

async function real(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (cause) {
    throw ioError(path, 'cannot be opened', cause);
  }
}
