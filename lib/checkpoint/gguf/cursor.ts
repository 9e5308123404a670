import { CheckpointError } from '../../errors.js';

/** Thrown inside this folder only: the header goes on behind the bytes that were read so far. */
export class NeedMore extends Error {
  constructor(readonly bytes: number) {
    super(`${bytes} bytes are needed`);
  }
}

/**
 * Goes through the beginning of a file and never beyond its end: each length is held against the file's size before
 * anything is done with it.
 */
export class Cursor {
  at = 0;
  private readonly view: DataView;

  /**
   * @param bytes the beginning of the file
   * @param fileBytes the size of the whole file
   */
  constructor(
    readonly bytes: Uint8Array,
    private readonly fileBytes: number,
    private readonly file: string,
  ) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Bytes from here to the file's end. */
  get rest(): number {
    return this.fileBytes - this.at;
  }

  u32(what: string): number {
    return this.view.getUint32(this.pass(4, what), true);
  }

  /** Above 2^53 - 1 not exact, but above it all the same. */
  u64(what: string): number {
    const at = this.pass(8, what);
    return this.view.getUint32(at, true) + this.view.getUint32(at + 4, true) * 2 ** 32;
  }

  /** The length or count of things that take `each` bytes or more in the file. */
  length(what: string, each: number): number {
    const length = this.u64(what);
    // Divided, because the product might not be exact.
    if (length > this.rest / each) {
      throw new CheckpointError(
        'ERR_CHECKPOINT_FORMAT',
        'InvalidLength',
        this.file,
        `${what} is said to have ${length} elements of ${each} bytes or more, but only ${this.rest} bytes follow`,
        CUT_SHORT,
      );
    }
    // Asked for at once, or a long array would be gone through again after each piece that is read.
    const least = this.at + length * each;
    if (least > this.bytes.length) throw new NeedMore(least);
    return length;
  }

  /** The bytes of a string: its length, then the text. */
  string(what: string): Uint8Array {
    const length = this.length(what, 1);
    const at = this.pass(length, what);
    return this.bytes.subarray(at, at + length);
  }

  /** Goes over strings. A header can have millions of them, so the way without faults makes no objects. */
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

  /** Goes over `count` bytes and returns where they begin. */
  pass(count: number, what: string): number {
    const at = this.at;
    const end = at + count;
    if (end > this.fileBytes) {
      const message = `ends at byte ${this.fileBytes}, inside of ${what}`;
      throw new CheckpointError('ERR_CHECKPOINT_FORMAT', 'Truncated', this.file, message, CUT_SHORT);
    }
    if (end > this.bytes.length) throw new NeedMore(end);
    this.at = end;
    return at;
  }
}

export const CUT_SHORT = {
  hint: 'It may have been cut short: compare its size with the original, and fetch it again.',
};
