import type { FileHandle } from 'node:fs/promises';
import { CheckpointError } from '../../errors.js';
import { openFile, readAt } from '../../files/files.js';
import { FIRST_GGUF_HEADER_BYTES, MAX_HEADER_BYTES } from '../../files/limits.js';
import { NeedMore } from './cursor.js';
import { type GgufHeader, type GgufTensor, parseGgufHeader } from './header.js';

/** An open GGUF file with a valid header. It holds the header in memory, but no data. */
export class GgufFile {
  private constructor(
    /** The path passed to {@link GgufFile.open}. */
    readonly file: string,
    /** In bytes, when it was opened. */
    readonly size: number,
    readonly header: GgufHeader,
    private readonly handle: FileHandle,
  ) {}

  /**
   * Opens a file and checks its header.
   *
   * @throws CheckpointError `ERR_CHECKPOINT_IO`, or `ERR_CHECKPOINT_FORMAT` with the kinds of
   *   `parseGgufHeader` and `HeaderTooLarge`.
   */
  static async open(file: string): Promise<GgufFile> {
    const { handle, size } = await openFile(file);
    try {
      return new GgufFile(file, size, await readHeader(handle, size, file), handle);
    } catch (cause) {
      await handle.close();
      throw cause;
    }
  }

  /** Reads a tensor's bytes. */
  read({ offset, bytes }: GgufTensor): Promise<Uint8Array> {
    return readAt(this.handle, this.file, offset, bytes);
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/**
 * Reads the header in growing pieces until it is complete: nothing in a GGUF file states its
 * length.
 */
async function readHeader(handle: FileHandle, size: number, file: string): Promise<GgufHeader> {
  const limit = Math.min(size, MAX_HEADER_BYTES);
  for (let bytes = Math.min(FIRST_GGUF_HEADER_BYTES, limit); ; ) {
    const start = await readAt(handle, file, 0, bytes);
    try {
      const header = parseGgufHeader(start, size, file);
      // A copy, so that the rest of the piece is not held as long as the file is open.
      return start.length > 2 * header.bytes.length ? parseGgufHeader(header.bytes.slice(), size, file) : header;
    } catch (cause) {
      if (!(cause instanceof NeedMore)) throw cause;
      if (cause.bytes > limit) {
        const message = `the header has over ${MAX_HEADER_BYTES} bytes`;
        throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'HeaderTooLarge', file, message);
      }
      bytes = Math.min(limit, Math.max(4 * bytes, cause.bytes + FIRST_GGUF_HEADER_BYTES));
    }
  }
}
