import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ioError, openFile, readAt, requirePath, writeThrough } from '../checkpoint/files.js';
import { CheckpointError } from '../errors.js';
import type { SearchHeader, SearchLine } from './trial.js';

export const LOG_FILE = 'trials.jsonl';

/** A file of JSON lines that is on the disk, line by line, before the next step is taken. */
export class SearchLog {
  private constructor(
    private readonly file: string,
    private readonly handle: FileHandle,
    private position: number,
    /** Lines in it, the head among them. */
    public count: number,
  ) {}

  /**
   * Opens a log for appending, and makes it if it is not there. A last line that was torn is cut off.
   *
   * @throws {@link CheckpointError} `ERR_OUTPUT`, kind `NotALog`, for a file that is something else or was changed.
   */
  static async open(file: string): Promise<{ log: SearchLog; lines: SearchLine[] }> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(file, constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0), 0o644);
      const { size } = await handle.stat();
      const { lines, end } = parseLog(await readAt(handle, file, 0, size), file);
      if (end < size) await handle.truncate(end);
      return { log: new SearchLog(file, handle, end, lines.length), lines };
    } catch (cause) {
      await handle?.close();
      throw ioError(file, 'cannot be opened', cause);
    }
  }

  async append(line: SearchLine): Promise<void> {
    const bytes = Buffer.from(`${stringifyLine(line)}\n`);
    await writeThrough(this.handle, this.file, this.position, bytes);
    this.position += bytes.length;
    this.count++;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/**
 * Reads what a search has written so far, finished or not: a last line that is torn does not count.
 *
 * @param path the search's output folder, or its `trials.jsonl`
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO` when it cannot be read; `ERR_OUTPUT`, kind `NotALog`, when it is none.
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
    const { lines } = parseLog(await readAt(handle, file, 0, size), file);
    const [header, ...rest] = lines;
    if (header?.line !== 'search') throw notALog(file, 'does not begin with the head of a search');
    return [header, ...rest];
  } finally {
    await handle.close();
  }
}

function parseLog(bytes: Uint8Array, file: string): { lines: SearchLine[]; end: number } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const lines: SearchLine[] = [];
  let end = 0;
  for (;;) {
    const stop = buffer.indexOf(10, end);
    if (stop < 0) break;
    const line = parseLine(buffer.toString('utf8', end, stop));
    if (line === undefined) {
      // A crash of the machine may leave a torn line that ends in a line break further on; one in the middle is no accident.
      if (buffer.indexOf(10, stop + 1) < 0) break;
      throw notALog(file, `line ${lines.length + 1} is none of a search`);
    }
    if (lines.length === 0 && line.line !== 'search') throw notALog(file, 'does not begin with the head of a search');
    lines.push(line);
    end = stop + 1;
  }
  return { lines, end };
}

function parseLine(text: string): SearchLine | undefined {
  try {
    const value = JSON.parse(text, revive) as SearchLine;
    return ['search', 'matrix', 'trial', 'test'].includes(value?.line) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** JSON has no infinity, and the log loss of an impossible answer is one. */
export function stringifyLine(value: unknown, indent?: number): string {
  return JSON.stringify(
    value,
    (_, item) => (typeof item === 'number' && !Number.isFinite(item) ? { $number: String(item) } : item),
    indent,
  );
}

function revive(_: string, item: unknown): unknown {
  return typeof item === 'object' && item !== null && '$number' in item ? Number(item.$number) : item;
}

function notALog(file: string, message: string): CheckpointError {
  return new CheckpointError('ERR_OUTPUT', 'NotALog', file, message, {
    hint: 'Give another output folder, or remove the file.',
  });
}
