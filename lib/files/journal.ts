import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { CheckpointError } from '../errors.js';
import { parseJson, toJson } from './document.js';
import { ioError, openFile, passRange, readAt, writeThrough } from './files.js';
import { MAX_JOURNAL_BYTES } from './limits.js';

/** Hex digits of the digest at the start of each line. */
const MARK = 16;

/**
 * A file of lines, each synced to the disk before the next step. Each line starts with a digest of
 * itself. A line that was torn when the process or the power failed does not match, and ends the
 * valid part.
 */
export class Journal {
  private constructor(
    readonly file: string,
    private readonly handle: FileHandle,
    private position: number,
  ) {}

  /**
   * Opens a journal for appending, creates it if missing, and reads its valid lines. What follows
   * them is cut off.
   *
   * @throws CheckpointError `ERR_CHECKPOINT_IO`; kind `InvalidJournal` for a line whose digest
   *   matches but whose JSON is invalid.
   */
  static async open(file: string): Promise<{ journal: Journal; entries: unknown[] }> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(file, constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0), 0o600);
      const status = await handle.stat();
      if (!status.isFile()) throw new CheckpointError('ERR_CHECKPOINT_IO', 'NotAFile', file, 'expected a regular file');
      checkSize(file, status.size);
      const { entries, end } = parse(await readAt(handle, file, 0, status.size), file);
      if (end < status.size) await handle.truncate(end);
      return { journal: new Journal(file, handle, end), entries };
    } catch (cause) {
      await handle?.close();
      throw ioError(file, 'cannot be opened', cause);
    }
  }

  /** Appends a line, and syncs it to the disk. Call it one at a time. */
  async append(entry: unknown): Promise<void> {
    const line = format(entry);
    await writeThrough(this.handle, this.file, this.position, line);
    this.position += line.length;
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/**
 * Reads the valid lines of a journal, which no process needs to be writing; returns none if it is
 * missing.
 */
export async function readJournal(file: string): Promise<unknown[]> {
  let opened: Awaited<ReturnType<typeof openFile>>;
  try {
    opened = await openFile(file);
  } catch (cause) {
    if (cause instanceof CheckpointError && cause.kind === 'NotFound') return [];
    throw cause;
  }
  try {
    checkSize(file, opened.size);
    return parse(await readAt(opened.handle, file, 0, opened.size), file).entries;
  } finally {
    await opened.handle.close();
  }
}

/**
 * The most bytes to hash at a time: a few milliseconds, between which the process does other work.
 */
const HASH_BYTES = 4 * 1024 * 1024;

/** Returns the SHA-256 of bytes in hex. */
export async function digestOf(bytes: Uint8Array): Promise<string> {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += HASH_BYTES) {
    hash.update(bytes.subarray(at, at + HASH_BYTES));
    if (at + HASH_BYTES < bytes.length) await turn();
  }
  return hash.digest('hex');
}

/** Returns the SHA-256 of a file in hex. */
export async function digestOfFile(file: string): Promise<string> {
  const { handle, size } = await openFile(file);
  try {
    const hash = createHash('sha256');
    await passRange({ handle, file, offset: 0 }, size, async (part) => {
      hash.update(part);
    });
    return hash.digest('hex');
  } finally {
    await handle.close();
  }
}

/** Returns the SHA-256 of a value as JSON, in hex. */
export function digestOfJson(value: unknown): string {
  return createHash('sha256').update(toJson(value)).digest('hex');
}

function checkSize(file: string, size: number): void {
  if (size <= MAX_JOURNAL_BYTES) return;
  const message = `has ${size} bytes, expected at most ${MAX_JOURNAL_BYTES}`;
  throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'FileTooLarge', file, message, { hint: 'Delete it.' });
}

function format(entry: unknown): Buffer {
  const text = toJson(entry);
  return Buffer.from(`${mark(Buffer.from(text))} ${text}\n`);
}

function parse(bytes: Uint8Array, file: string): { entries: unknown[]; end: number } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries: unknown[] = [];
  let end = 0;
  for (;;) {
    const stop = buffer.indexOf(10, end);
    if (stop < 0) return { entries, end };
    const text = buffer.subarray(end + MARK + 1, stop);
    if (buffer.toString('latin1', end, end + MARK + 1) !== `${mark(text)} `) return { entries, end };
    entries.push(parseJson(text, (message) => invalidJournal(file, `line ${entries.length + 1}: ${message}`)));
    end = stop + 1;
  }
}

/**
 * Throws for a line whose digest is right but whose content is not ours, so no accident made it.
 */
export function invalidJournal(file: string, message: string): never {
  throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidJournal', file, message, {
    hint: 'Start over: remove its folder, or use --restart (restart: true) if the command has it.',
  });
}

function mark(text: Uint8Array): string {
  return createHash('sha256').update(text).digest('hex').slice(0, MARK);
}
