import { isUtf8 } from 'node:buffer';
import type { FileHandle } from 'node:fs/promises';
import { CheckpointError, describe } from '../../errors.js';
import { readAt } from '../../files/files.js';
import { MAX_PROTOBUF_FIELDS, MAX_PROTOBUF_TEXT_BYTES } from '../../files/limits.js';

/** The wire types of fields, with the numbers of the format. Groups (3 and 4) are left out. */
export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
export const FIXED32 = 5;
type WireType = typeof VARINT | typeof FIXED64 | typeof BYTES | typeof FIXED32;

/** A range of the file: from the first byte up to, but not including, the second. */
export interface Span {
  readonly begin: number;
  readonly end: number;
}

/** A field on the wire. */
export interface Field extends Span {
  /** Where its tag begins; `begin` is that of its value. */
  readonly start: number;
  readonly number: number;
  readonly type: WireType;
  /**
   * The value of a varint, exact up to 2^53 - 1, beyond that only known to be larger. 0 for every
   * other type.
   */
  readonly value: number;
}

/** The most bytes of a tag and a length. */
const LONGEST_START = 20;
const LONGEST_VARINT = 10;
/**
 * Bytes read at a time. A larger window would be wasted if large tensors lie between small fields.
 */
const WINDOW_BYTES = 64 * 1024;
/** Tags hold field numbers of up to 29 bits. */
const MAX_TAG = 2 ** 32 - 1;
/** Every length is below this. */
const MAX_LENGTH = 2 ** 31 - 1;
/** Bytes of a tag, and of a length, with any leading zeros. */
const LONGEST_SHORT_VARINT = 5;
const MAX_NAMES_IN_PATH = 8;
const CUT_SHORT = { hint: 'The file is probably truncated: download or copy it again.' };

/**
 * Walks the wire format of protocol buffers in a file, forwards, without loading unrequested bytes:
 * those of a tensor are skipped, however many they are.
 *
 * Source: Protocol Buffers, "Encoding", https://protobuf.dev/programming-guides/encoding/.
 */
export class ProtobufFile {
  #window: Uint8Array = new Uint8Array();
  #windowStart = 0;
  #fields = 0;
  /** The first byte after the number that was read last. */
  #after = 0;
  /** The names of the fields that lead to the message being walked, for messages. */
  readonly path: string[] = [];

  constructor(
    private readonly handle: FileHandle,
    /** For messages. */
    readonly file: string,
    readonly size: number,
  ) {}

  /**
   * Calls `visit` with each field of the message in a span, in order, and awaits a returned
   * promise. While `visit` runs, and until it first waits, `text` and `integers` can read its
   * field.
   *
   * @throws {@link CheckpointError} kinds `InvalidProtobuf`, `Truncated`.
   */
  async message({ begin, end }: Span, visit: (field: Field) => Promise<void> | undefined): Promise<void> {
    for (let at = begin; at < end; ) {
      if (!this.#holds(at, Math.min(at + LONGEST_START, end))) await this.#load(at);
      const field = this.#field(at, end);
      const isShort = field.type === BYTES && field.end - field.begin <= MAX_PROTOBUF_TEXT_BYTES;
      if (isShort && !this.#holds(field.begin, field.end)) await this.#load(field.begin);
      const pending = visit(field);
      if (pending !== undefined) await pending;
      at = field.end;
    }
  }

  /**
   * Returns the field that starts at a byte, of a message that ends at another; a promise if the
   * file has to be read first. Use it for only one walk through the whole file, because it counts
   * the fields.
   *
   * @throws {@link CheckpointError} kinds `InvalidProtobuf`, `Truncated`, `TooManyFields`.
   */
  fieldAt(at: number, end: number): Field | Promise<Field> {
    if (++this.#fields > MAX_PROTOBUF_FIELDS) {
      throw this.fault('TooManyFields', `has more than ${MAX_PROTOBUF_FIELDS} protobuf fields outside of its data`);
    }
    if (this.#holds(at, Math.min(at + LONGEST_START, end))) return this.#field(at, end);
    return this.#load(at).then(() => this.#field(at, end));
  }

  /**
   * Skips fields that hold a single number, from a byte on, of a message that ends at another.
   * Stops where the window ends, and at anything that needs a closer look: `fieldAt` reads that. A
   * file can have millions of such fields, so this creates no objects. It counts them like
   * `fieldAt`.
   *
   * @returns where it stopped
   */
  passNumbers(at: number, end: number): number {
    const bytes = this.#window;
    const last = Math.min(end - this.#windowStart, bytes.length);
    let position = at - this.#windowStart;
    if (position < 0) return at;
    // Tags of one byte: the field numbers 1 to 15, which are most of them.
    for (let fields = this.#fields; fields < MAX_PROTOBUF_FIELDS && position < last; fields++) {
      const tag = bytes[position]!;
      if (tag < 8 || tag > 0x7f) break;
      const next = position + 1 + numberBytes(bytes, position + 1, last, tag & 7);
      if (next === position + 1 || next > last) break;
      position = next;
      this.#fields = fields + 1;
    }
    return position + this.#windowStart;
  }

  /**
   * Checks that varints fill a span, however long it is.
   *
   * @throws {@link CheckpointError} kinds `InvalidProtobuf`, `Truncated`.
   */
  async checkVarints({ begin, end }: Span): Promise<void> {
    let length = 0;
    for (let at = begin; at < end; ) {
      if (!this.#holds(at, at + 1)) await this.#load(at);
      const bytes = this.#window;
      const start = at - this.#windowStart;
      const stop = Math.min(end - this.#windowStart, bytes.length);
      for (let i = start; i < stop; i++) {
        if (++length > LONGEST_VARINT) throw this.#tooLong(this.#windowStart + i - LONGEST_VARINT);
        if (bytes[i]! < 0x80) length = 0;
      }
      at = this.#windowStart + stop;
    }
    if (length > 0) throw this.#unended(end - length);
  }

  /**
   * Returns the text of the field that is being visited.
   *
   * @param what its name, for messages
   * @throws {@link CheckpointError} kinds `NameTooLong`, `InvalidName` if it is not UTF-8.
   */
  text(field: Field, what: string): string {
    if (field.type !== BYTES) throw this.fault('InvalidProtobuf', `${what} at byte ${field.begin} is not text`);
    const bytes = this.#short(field);
    if (bytes === undefined) {
      const length = field.end - field.begin;
      const message = `${what} at byte ${field.begin} has ${length} bytes, expected at most ${MAX_PROTOBUF_TEXT_BYTES}`;
      throw this.fault('NameTooLong', message);
    }
    if (!isUtf8(bytes)) throw this.fault('InvalidName', `${what} at byte ${field.begin} is not valid UTF-8`);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  }

  /**
   * Returns the numbers of the repeated integer field that is being visited: one of them, or a
   * packed list.
   *
   * @returns undefined for a list that is too long for what is read here
   */
  integers(field: Field, what: string): readonly number[] | undefined {
    if (field.type === VARINT) return [field.value];
    if (field.type !== BYTES) throw this.fault('InvalidProtobuf', `${what} at byte ${field.begin} is not an integer`);
    if (this.#short(field) === undefined) return undefined;
    const numbers: number[] = [];
    for (let at = field.begin; at < field.end; ) {
      numbers.push(this.#varint(at, field.end));
      at = this.#after;
    }
    return numbers;
  }

  /** Returns the float32 of the field that is being visited, of the wire type `FIXED32`. */
  float({ begin }: Field): number {
    const { buffer, byteOffset } = this.#window;
    return new DataView(buffer, byteOffset + begin - this.#windowStart, 4).getFloat32(0, true);
  }

  /** Makes an error for a fault of the format in this file. */
  fault(kind: string, message: string, options: { hint?: string } = {}): CheckpointError {
    const where = this.path.length === 0 ? '' : ` (in ${this.path.slice(-MAX_NAMES_IN_PATH).join('.')})`;
    return new CheckpointError('ERR_CHECKPOINT_FORMAT', kind, this.file, message + where, options);
  }

  #short({ begin, end }: Field): Uint8Array | undefined {
    if (!this.#holds(begin, end) || end - begin > MAX_PROTOBUF_TEXT_BYTES) return undefined;
    return this.#window.subarray(begin - this.#windowStart, end - this.#windowStart);
  }

  #holds(begin: number, end: number): boolean {
    return begin >= this.#windowStart && end <= this.#windowStart + this.#window.length;
  }

  async #load(begin: number): Promise<void> {
    this.#window = await readAt(this.handle, this.file, begin, Math.min(WINDOW_BYTES, this.size - begin));
    this.#windowStart = begin;
  }

  #field(at: number, end: number): Field {
    const tag = this.#varint(at, end);
    const begin = this.#after;
    const number = Math.floor(tag / 8);
    const type = tag % 8;
    if (tag > MAX_TAG || number === 0 || begin - at > LONGEST_SHORT_VARINT) {
      throw this.fault('InvalidProtobuf', `no field can start with byte ${at}`);
    }
    switch (type) {
      case VARINT: {
        const value = this.#varint(begin, end);
        return { start: at, number, type, value, begin, end: this.#after };
      }
      case FIXED64:
        return { start: at, number, type, value: 0, begin, end: this.#within(begin, 8, end) };
      case FIXED32:
        return { start: at, number, type, value: 0, begin, end: this.#within(begin, 4, end) };
      case BYTES: {
        const length = this.#varint(begin, end);
        const start = this.#after;
        const after = this.#within(start, length, end);
        if (length > MAX_LENGTH || start - begin > LONGEST_SHORT_VARINT) {
          throw this.fault('InvalidProtobuf', `the length at byte ${begin} exceeds protobuf's limit`, {
            hint: 'A part of a model must have less than 2 GiB: save larger weights as external data.',
          });
        }
        return { start: at, number, type, value: 0, begin: start, end: after };
      }
      default:
        throw this.fault(
          'InvalidProtobuf',
          `field ${number} at byte ${at} has the wire type ${type}, which ${type < 5 ? 'ONNX does not use' : 'does not exist'}`,
        );
    }
  }

  #within(begin: number, length: number, end: number): number {
    if (length <= end - begin) return begin + length;
    const message = `the field at byte ${begin} should take ${describe(length)} bytes, but there are ${end - begin}`;
    throw this.fault('Truncated', message, CUT_SHORT);
  }

  /**
   * Reads seven bits a byte, the lowest first. Numbers of 2^53 and more become some number of at
   * least 2^53. `#after` has the end: returning a pair would create an object for each of millions.
   */
  #varint(at: number, end: number): number {
    const bytes = this.#window;
    const start = at - this.#windowStart;
    if (at < end && bytes[start]! < 0x80) {
      this.#after = at + 1;
      return bytes[start]!;
    }
    const length = Math.min(end - at, LONGEST_VARINT);
    let value = 0;
    let weight = 1;
    for (let i = 0; i < length; i++) {
      const byte = bytes[start + i]!;
      value += (byte & 0x7f) * weight;
      weight *= 128;
      if (byte >= 0x80) continue;
      if (i === LONGEST_VARINT - 1 && byte > 1) break;
      this.#after = at + i + 1;
      return value;
    }
    throw length < LONGEST_VARINT ? this.#unended(at) : this.#tooLong(at);
  }

  #unended(at: number): CheckpointError {
    return this.fault('Truncated', `the number at byte ${at} does not end`, CUT_SHORT);
  }

  #tooLong(at: number): CheckpointError {
    return this.fault('InvalidProtobuf', `the number at byte ${at} has more than 64 bits`);
  }
}

/**
 * Returns how many bytes a number of a wire type takes, up to `last`; 0 if it is none, or a varint
 * of more than nine bytes, whose last bits need a check.
 */
function numberBytes(bytes: Uint8Array, begin: number, last: number, type: number): number {
  if (type === FIXED64) return 8;
  if (type === FIXED32) return 4;
  if (type !== VARINT) return 0;
  const stop = Math.min(last, begin + LONGEST_VARINT - 1);
  for (let i = begin; i < stop; i++) if (bytes[i]! < 0x80) return i + 1 - begin;
  return 0;
}
