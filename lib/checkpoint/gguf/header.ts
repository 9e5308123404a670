import { isUtf8 } from 'node:buffer';
import { CheckpointError, describe } from '../../errors.js';
import {
  MAX_GGUF_ALIGNMENT,
  MAX_GGUF_ARRAY_DEPTH,
  MAX_GGUF_DIMENSIONS,
  MAX_GGUF_KEY_BYTES,
  MAX_GGUF_KEYS,
  MAX_GGUF_NAME_BYTES,
  MAX_GGUF_TENSORS,
} from '../../files/limits.js';
import { blockOf } from '../../tensor/dtype.js';
import { CUT_SHORT, Cursor } from './cursor.js';
import { GgufMetadata, type MetadataEntry } from './metadata.js';
import { type GgmlType, ggmlBytes, ggmlType, VALUE_TYPES, type ValueType } from './types.js';

/*
 * A GGUF file, all numbers little-endian: "GGUF", version (u32), the numbers of tensors and of keys
 * (u64 each); the keys, each a string, a type (u32) and a value; the tensors, each a name, its
 * dimensions with the innermost first, a type (u32) and an offset (u64); zeros up to a multiple of
 * the alignment; the data. A string is its length (u64) and UTF-8. An array is a type (u32), a
 * length (u64) and the elements.
 *
 * Source: ggml's docs/gguf.md, and its reader src/gguf.cpp, whose rules for the data apply: the
 * tensors lie in the order of their descriptions, each at the next multiple of the alignment after
 * the one before, so there is no overlap and no gap. Whatever both allow is allowed: bytes after
 * the last tensor, dimensions of 0.
 *
 * Refused although the format has it: version 1 (32-bit lengths, of the first weeks) and big-endian
 * files.
 */

/** The position of the count of keys. */
export const KEY_COUNT_AT = 16;

const MAGIC = 0x46554747; // "GGUF"
const VERSIONS = [2, 3];
const DEFAULT_ALIGNMENT = 32;
/** An empty name, no dimension, type, offset. */
const LEAST_TENSOR_BYTES = 8 + 4 + 4 + 8;
/** An empty key, a type, one byte. */
const LEAST_KEY_BYTES = 8 + 4 + 1;

/**
 * Names the description of any tensor in messages about what follows its name; one text, because
 * there may be many tensors.
 */
const A_TENSOR = 'the description of a tensor';

/**
 * The fewest bytes of a value of a type: a string has its length, an array also the type of its
 * elements.
 */
const LEAST_BYTES = Object.fromEntries(
  VALUE_TYPES.map(({ name, bytes }) => [name, bytes ?? (name === 'string' ? 8 : 12)]),
) as Readonly<Record<ValueType, number>>;

/** The bytes of a number, by the code of its type; 0 for types whose values need a check. */
const NUMBER_BYTES = VALUE_TYPES.map(({ name, bytes }) => (name === 'bool' ? 0 : (bytes ?? 0)));

/** A tensor as the header describes it. */
export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Row-major: the file's dimensions in reverse. */
  readonly shape: readonly number[];
  readonly bytes: number;
  /** The position of its first byte in the file. */
  readonly offset: number;
  /**
   * The position of its type in the header; its offset follows, counted from the start of the data.
   */
  readonly typeAt: number;
}

/** A valid header. */
export interface GgufHeader {
  /** All of it, up to the end of the last tensor's description. */
  readonly bytes: Uint8Array;
  readonly metadata: GgufMetadata;
  /** The position at which the descriptions of the tensors start. */
  readonly tensorsAt: number;
  readonly alignment: number;
  /** In the order of their bytes. */
  readonly tensors: readonly GgufTensor[];
  /** The position of the data in the file. */
  readonly dataStart: number;
}

/** The most tensors and keys of a header. */
interface GgufLimits {
  readonly tensors: number;
  readonly keys: number;
}

const LIMITS: GgufLimits = { tensors: MAX_GGUF_TENSORS, keys: MAX_GGUF_KEYS };

/**
 * Reads and checks a header.
 *
 * @param start the start of the file
 * @param fileBytes the size of the whole file
 * @throws {@link CheckpointError} `InvalidMagic`, `UnsupportedVersion`, `BigEndian`, `Truncated`,
 *   `InvalidLength`, `TooManyKeys`, `TooManyTensors`, `TooManyDimensions`, `ArraysTooDeep`,
 *   `InvalidName`, `DuplicateKey`, `DuplicateName`, `UnknownValueType`, `InvalidBool`,
 *   `UnknownTensorType`, `InvalidAlignment`, `InvalidBlock`, `Overflow`, `InvalidOffset`,
 *   `DataBeyondFile`.
 * @throws NeedMore if the header is longer than `start`, and the file too.
 */
export function parseGgufHeader(
  start: Uint8Array,
  fileBytes: number,
  file: string,
  limits: GgufLimits = LIMITS,
): GgufHeader {
  return new HeaderReader(start, fileBytes, file, limits).read();
}

/** Returns the next multiple of the alignment. */
export function aligned(position: number, alignment: number): number {
  return Math.ceil(position / alignment) * alignment;
}

type RawTensor = Omit<GgufTensor, 'bytes'>;

class HeaderReader {
  private readonly cursor: Cursor;

  constructor(
    start: Uint8Array,
    private readonly fileBytes: number,
    private readonly file: string,
    private readonly limits: GgufLimits,
  ) {
    this.cursor = new Cursor(start, fileBytes, file);
  }

  read(): GgufHeader {
    const { cursor, limits } = this;
    this.readVersion();
    const tensorCount = cursor.length('the list of tensors', LEAST_TENSOR_BYTES);
    const keyCount = cursor.length('the list of keys', LEAST_KEY_BYTES);
    if (tensorCount > limits.tensors)
      throw this.fault('TooManyTensors', `${tensorCount} tensors, over ${limits.tensors}`);
    if (keyCount > limits.keys) throw this.fault('TooManyKeys', `${keyCount} keys, over ${limits.keys}`);
    const metadata = new GgufMetadata(cursor.bytes, this.readKeys(keyCount));
    const alignment = this.alignmentOf(metadata);
    const tensorsAt = cursor.at;
    const raw = this.readTensors(tensorCount);
    const bytes = cursor.bytes.subarray(0, cursor.at);
    const dataStart = aligned(cursor.at, alignment);
    return { bytes, metadata, tensorsAt, alignment, tensors: this.place(raw, dataStart, alignment), dataStart };
  }

  private readVersion(): void {
    if (this.cursor.u32('the first word') !== MAGIC) throw this.fault('InvalidMagic', 'does not start with GGUF');
    const version = this.cursor.u32('the version');
    if (VERSIONS.includes(version)) return;
    if (version !== 0 && version % 0x10000 === 0) {
      throw this.fault('BigEndian', 'its numbers are big-endian, expected little-endian', {
        hint: 'Convert it with gguf_convert_endian.py of llama.cpp.',
      });
    }
    throw this.fault('UnsupportedVersion', `version ${version}, expected one of ${VERSIONS.join(', ')}`, {
      hint: 'Convert it again with a current llama.cpp.',
    });
  }

  private readKeys(count: number): Map<string, MetadataEntry> {
    const entries = new Map<string, MetadataEntry>();
    for (let i = 0; i < count; i++) {
      const key = this.readName(`key ${i}`, MAX_GGUF_KEY_BYTES);
      if (entries.has(key)) throw this.fault('DuplicateKey', `duplicate key ${describe(key)}`);
      entries.set(key, this.readValue(describe(key)));
    }
    return entries;
  }

  private readValueType(what: string): ValueType {
    const code = this.cursor.u32(what);
    const type = VALUE_TYPES[code];
    if (type !== undefined) return type.name;
    throw this.fault('UnknownValueType', `${what} has the type ${code}, expected 0 to ${VALUE_TYPES.length - 1}`);
  }

  private readValue(what: string): MetadataEntry {
    const { cursor } = this;
    const type = this.readValueType(what);
    if (type !== 'array') {
      const at = cursor.at;
      this.pass(type, 1, what);
      return { type, at, end: cursor.at };
    }
    const of = this.readValueType(what);
    const length = cursor.length(what, LEAST_BYTES[of]);
    const at = cursor.at;
    this.passElements(of, length, what, 1);
    return { type, of, length, at, end: cursor.at };
  }

  private passElements(of: ValueType, length: number, what: string, depth: number): void {
    if (of !== 'array') {
      this.pass(of, length, what);
      return;
    }
    if (depth >= MAX_GGUF_ARRAY_DEPTH) {
      throw this.fault('ArraysTooDeep', `${what} has over ${MAX_GGUF_ARRAY_DEPTH} nested arrays`);
    }
    for (let i = 0; i < length; i++) {
      i += this.cursor.passNumberArrays(length - i, NUMBER_BYTES);
      if (i === length) return;
      const inner = this.readValueType(what);
      this.passElements(inner, this.cursor.length(what, LEAST_BYTES[inner]), what, depth + 1);
    }
  }

  /** Skips values that are not arrays. */
  private pass(type: Exclude<ValueType, 'array'>, count: number, what: string): void {
    if (type === 'string') {
      this.cursor.passStrings(count, what);
      return;
    }
    const at = this.cursor.pass(count * LEAST_BYTES[type], what);
    if (type !== 'bool') return;
    const wrong = this.cursor.bytes.subarray(at, at + count).find((byte) => byte > 1);
    if (wrong !== undefined) throw this.fault('InvalidBool', `${what} has the truth value ${wrong}, expected 0 or 1`);
  }

  private readName(what: string, limit: number): string {
    const bytes = this.cursor.string(what);
    if (bytes.length > limit) {
      throw this.fault('InvalidName', `the name of ${what} has ${bytes.length} bytes, expected at most ${limit}`);
    }
    if (bytes.includes(0)) throw this.fault('InvalidName', `the name of ${what} contains a NUL`);
    if (!isUtf8(bytes)) throw this.fault('InvalidName', `the name of ${what} is not valid UTF-8`);
    return Buffer.from(bytes).toString('utf8');
  }

  private alignmentOf(metadata: GgufMetadata): number {
    const key = 'general.alignment';
    const entry = metadata.entries.get(key);
    if (entry === undefined) return DEFAULT_ALIGNMENT;
    if (entry.type !== 'u32') throw this.fault('InvalidAlignment', `${key} is of type ${entry.type}, expected u32`);
    const value = metadata.wholeNumber(key)!;
    if (value >= 8 && value <= MAX_GGUF_ALIGNMENT && Number.isInteger(Math.log2(value))) return value;
    throw this.fault('InvalidAlignment', `${key} is ${value}, expected a power of two from 8 to ${MAX_GGUF_ALIGNMENT}`);
  }

  private readTensors(count: number): RawTensor[] {
    const { cursor } = this;
    const names = new Set<string>();
    return Array.from({ length: count }, (_, i) => {
      const name = this.readName(`tensor ${i}`, MAX_GGUF_NAME_BYTES);
      if (names.has(name)) throw this.fault('DuplicateName', `duplicate tensor ${describe(name)}`);
      names.add(name);
      const dimensions = cursor.u32(A_TENSOR);
      if (dimensions > MAX_GGUF_DIMENSIONS) {
        throw this.fault(
          'TooManyDimensions',
          `${describe(name)} has ${dimensions} dimensions, over ${MAX_GGUF_DIMENSIONS}`,
        );
      }
      const shape = Array.from({ length: dimensions }, () => cursor.u64(A_TENSOR)).reverse();
      const typeAt = cursor.at;
      const code = cursor.u32(A_TENSOR);
      const type = ggmlType(code);
      if (type === undefined) {
        throw this.fault('UnknownTensorType', `${describe(name)} has the type ${code}, which is none of ggml's`, {
          hint: 'A newer version of this package may support it.',
        });
      }
      return { name, type, shape, typeAt, offset: cursor.u64(A_TENSOR) };
    });
  }

  /** Checks the sizes and offsets of the tensors, and converts offsets to positions in the file. */
  private place(tensors: readonly RawTensor[], dataStart: number, alignment: number): GgufTensor[] {
    let expected = 0;
    return tensors.map((tensor) => {
      const bytes = this.bytesOf(tensor);
      if (tensor.offset !== expected) {
        const why =
          tensor.offset % alignment !== 0
            ? `not a multiple of the alignment ${alignment}`
            : tensor.offset < expected
              ? 'overlapping the bytes before'
              : 'after a gap';
        const message = `${describe(tensor.name)} lies at byte ${tensor.offset} of the data, ${why}; expected ${expected}`;
        throw this.fault('InvalidOffset', message);
      }
      const offset = dataStart + tensor.offset;
      if (bytes > 0 && offset + bytes > this.fileBytes) {
        const message = `${describe(tensor.name)} lies at bytes ${offset} to ${offset + bytes} of a file of ${this.fileBytes}`;
        throw this.fault('DataBeyondFile', message, CUT_SHORT);
      }
      expected = aligned(expected + bytes, alignment);
      return { ...tensor, bytes, offset };
    });
  }

  private bytesOf({ name, type, shape }: RawTensor): number {
    // Zeros are left out, because readers multiply in different orders. No number takes more than 8
    // bytes.
    const elements = shape.reduce((product, dimension) => product * (dimension || 1), 1);
    if (elements > Number.MAX_SAFE_INTEGER / 8) {
      throw this.fault('Overflow', `${describe(name)}: the shape ${describe(shape)} has too many elements to count`);
    }
    const { numbers } = blockOf(type);
    const row = shape.at(-1) ?? 1;
    if (row % numbers !== 0) {
      const message = `${describe(name)}: rows of ${row} numbers are not whole blocks of ${type}, which have ${numbers}`;
      throw this.fault('InvalidBlock', message);
    }
    return ggmlBytes(type, shape);
  }

  private fault(kind: string, message: string, options?: { hint: string }): CheckpointError {
    return new CheckpointError('ERR_CHECKPOINT_FORMAT', kind, this.file, message, options);
  }
}
