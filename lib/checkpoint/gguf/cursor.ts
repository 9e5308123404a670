import { CheckpointError } from '../../errors.js';

/** Thrown only inside this folder: the header continues after the bytes read so far. */
export class NeedMore extends Error {
  constructor(readonly bytes: number) {
    super(`${bytes} bytes needed`);
  }
}

/**
 * Reads the start of a file and never beyond its end: each length is checked against the file's
 * size before it is used.
 */
export class Cursor {
  at = 0;
  private readonly view: DataView;

  /**
   * @param bytes the start of the file
   * @param fileBytes the size of the whole file
   */
  constructor(
    readonly bytes: Uint8Array,
    private readonly fileBytes: number,
    private readonly file: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes from here to the end of the file. */
  get rest(): number {
    return this.fileBytes - this.at;
  }

  u32(what: string): number {
    return this.view.getUint32(this.pass(4, what), true);
  }

  /** Not exact above 2^53 - 1, but above it in any case. */
  u64(what: string): number {
    const at = this.pass(8, what);
    return this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 2 ** 32;
  }

  /** Reads the length or count of items that take at least `each` bytes in the file. */
  length(what: string, each: number): number {
    const length = this.u64(what);
    // Divide, because the product might not be exact.
    if (length > this.rest / each) {
      throw new CheckpointError(
        'ERR_CHECKPOINT_FORMAT',
        'InvalidLength',
        this.file,
        `${what} should have ${length} elements of at least ${each} bytes, but only ${this.rest} bytes follow`,
        CUT_SHORT,
      );
    }
    // Request all at once, or a long array would be parsed again after each piece that is read.
    const least = this.at + length * each;
    if (least > this.bytes.length) throw new NeedMore(least);
    return length;
  }

  /** Returns the bytes of a string: its length, then the text. */
  string(what: string): Uint8Array {
    const length = this.length(what, 1);
    const at = this.pass(length, what);
    return this.bytes.subarray(at, at + length);
  }

  /**
   * Skips strings. A header can have millions of them, so the path without faults creates no
   * objects.
   */
  passStrings(count: number, what: string): void {
    for (let i = 0; i < count; i++) {
      const text = this.at + 8;
      if (text <= this.bytes.length) {
        const end = text + this.view.getUint32(text - 8, true) + this.view.getUint32(text - 4, true) * 2 ** 32;
        if (end <= this.bytes.length) {
          this.at = end;
          continue;
        }
      }
      this.string(what);
    }
  }

  /**
   * Skips arrays of plain numbers, at most `count`, while all of them is among the bytes read so
   * far. A header can have millions of them, so this creates no objects.
   *
   * @param elementBytes the bytes of a number, by the code of its type; 0 for any other type
   * @returns how many were skipped; the next one needs a closer look
   */
  passNumberArrays(count: number, elementBytes: readonly number[]): number {
    for (let i = 0; i < count; i++) {
      const start = this.at + 12;
      if (start > this.bytes.length) return i;
      const each = elementBytes[this.view.getUint32(start - 12, true)] ?? 0;
      if (each === 0) return i;
      const length = this.view.getUint32(start - 8, true) + this.view.getUint32(start - 4, true) * 2 ** 32;
      const end = start + length * each;
      if (end > this.bytes.length) return i;
      this.at = end;
    }
    return count;
  }

  /** Skips `count` bytes and returns where they start. */
  pass(count: number, what: string): number {
    const at = this.at;
    const end = at + count;
    if (end > this.fileBytes) {
      const message = `ends at byte ${this.fileBytes}, inside ${what}`;
      throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'Truncated', this.file, message, CUT_SHORT);
    }
    if (end > this.bytes.length) throw new NeedMore(end);
    this.at = end;
    return at;
  }
}

export const CUT_SHORT = {
  hint: 'It may be truncated: compare its size with the original, and download it again.',
};
