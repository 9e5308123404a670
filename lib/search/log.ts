import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '../errors.js';
import { parseJson, toJson } from '../files/document.js';
import { ioError, openFile, readAt, requirePath, writeThrough } from '../files/files.js';
import { MAX_LOG_BYTES } from '../files/limits.js';
import type { SearchHeader, SearchLine } from './log-lines.js';
import { faultInLog } from './log-schema.js';

export const LOG_FILE = 'trials.jsonl';

/** A file of JSON lines, each of which is on the disk before the next step. */
export class SearchLog {
  private constructor(
    private readonly file: string,
    private readonly handle: FileHandle,
    private position: number,
    /** The number of lines, including the header. */
    public count: number,
  ) {}

  /**
   * Opens a log for appending, and creates it if missing. Cuts off a torn last line.
   *
   * @throws {@link CheckpointError} `ERR_OUTPUT`, kind `NotALog`, for a file that is not a log or
   *   was changed, naming the line and the field.
   */
  static async open(file: string): Promise<{ log: SearchLog; lines: SearchLine[] }> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(file, constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0), 0o644);
      const { size } = await handle.stat();
      checkSize(file, size);
      const { lines, end } = parseLog(await readAt(handle, file, 0, size), file);
      if (end < size) await handle.truncate(end);
      return { log: new SearchLog(file, handle, end, lines.length), lines };
    } catch (cause) {
      await handle?.close();
      throw ioError(file, 'cannot be opened', cause);
    }
  }

  async append(line: SearchLine): Promise<void> {
    const bytes = Buffer.from(`${toJson(line)}\n`);
    await writeThrough(this.handle, this.file, this.position, bytes);
    this.position += bytes.length;
    this.count++;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/**
 * Reads what a search has written so far, finished or not; ignores a torn last line.
 *
 * @param path the search's output folder, or its `trials.jsonl`
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` if it cannot be read; `ERR_OUTPUT`, kind
 *   `NotALog`, if it is not a log.
 */
export async function readSearchLog(path: string): Promise<readonly [SearchHeader, ...SearchLine[]]> {
  requirePath(path);
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (cause) {
    throw ioError(path, 'cannot be read', cause);
  }
  const file = isFolder ? join(path, LOG_FILE) : path;
  const { handle, size } = await openFile(file);
  try {
    checkSize(file, size);
    const { lines } = parseLog(await readAt(handle, file, 0, size), file);
    const [header, ...rest] = lines as [SearchHeader?, ...SearchLine[]];
    return header === undefined ? notALog(file, 'does not start with the header of a search') : [header, ...rest];
  } finally {
    await handle.close();
  }
}

function parseLog(bytes: Uint8Array, file: string): { lines: SearchLine[]; end: number } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const lines: unknown[] = [];
  let end = 0;
  for (;;) {
    const stop = buffer.indexOf(10, end);
    if (stop < 0) break;
    const text = buffer.subarray(end, stop);
    // A crash of the machine may leave a torn line that ends in a later line break; one in the
    // middle is not an accident.
    if (buffer.indexOf(10, stop + 1) < 0 && isTorn(text)) break;
    lines.push(parseJson(text, (message) => notALog(file, `line ${lines.length + 1}: ${message}`)));
    end = stop + 1;
  }
  const fault = faultInLog(lines);
  if (fault !== undefined) notALog(file, fault);
  return { lines: lines as SearchLine[], end };
}

/** Whether a line is not JSON at all. */
function isTorn(text: Buffer): boolean {
  try {
    JSON.parse(text.toString('utf8'));
    return false;
  } catch {
    return true;
  }
}

function notALog(file: string, message: string): never {
  throw new CheckpointError('ERR_OUTPUT', 'NotALog', file, message, {
    hint: 'Choose another output folder, or remove the file.',
  });
}

function checkSize(file: string, size: number): void {
  if (size > MAX_LOG_BYTES) notALog(file, `has ${size} bytes, expected at most ${MAX_LOG_BYTES}`);
}
