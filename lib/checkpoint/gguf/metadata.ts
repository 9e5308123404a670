import type { ScalarType, ValueType } from './types.js';

/** The position of a metadata value in the header. */
export type MetadataEntry =
  | { readonly type: Exclude<ValueType, 'array'>; readonly at: number; readonly end: number }
  /** `at` is the position of the first element. */
  | {
      readonly type: 'array';
      readonly of: ValueType;
      readonly length: number;
      readonly at: number;
      readonly end: number;
    };

export type MetadataValue = number | bigint | boolean | string;

/**
 * The metadata of a GGUF file. Values stay as the header's bytes until they are requested: a
 * tokenizer has hundreds of thousands of strings that this package never reads.
 */
export class GgufMetadata {
  private readonly view: DataView;

  constructor(
    private readonly header: Uint8Array,
    /** In the order of the file. */
    readonly entries: ReadonlyMap<string, MetadataEntry>,
  ) {
    this.view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  }

  /**
   * Returns a value that is not an array; 64-bit integers as bigint. Returns undefined for an array
   * and for a missing key.
   */
  value(key: string): MetadataValue | undefined {
    const entry = this.entries.get(key);
    if (entry === undefined || entry.type === 'array') return undefined;
    if (entry.type === 'string') return Buffer.from(this.header.subarray(entry.at + 8, entry.end)).toString('utf8');
    return this.scalar(entry.type, entry.at);
  }

  text(key: string): string | undefined {
    const value = this.value(key);
    return typeof value === 'string' ? value : undefined;
  }

  /**
   * Returns an integer of any type that JavaScript can represent. Some models have an array with a
   * number for each layer; then the number that all layers share, if they do.
   */
  wholeNumber(key: string): number | undefined {
    const entry = this.entries.get(key);
    const value = entry?.type === 'array' ? this.common(entry) : this.value(key);
    const number = typeof value === 'bigint' ? Number(value) : value;
    return typeof number === 'number' && Number.isSafeInteger(number) ? number : undefined;
  }

  /** Returns a string of an array of strings; undefined if there is none. */
  textAt(key: string, index: number): string | undefined {
    const entry = this.entries.get(key);
    if (entry?.type !== 'array' || entry.of !== 'string' || !(index >= 0 && index < entry.length)) return undefined;
    let { at } = entry;
    const length = () => Number(this.view.getBigUint64(at, true));
    for (let i = 0; i < index; i++) at += 8 + length();
    return Buffer.from(this.header.subarray(at + 8, at + 8 + length())).toString('utf8');
  }

  private common(array: Extract<MetadataEntry, { type: 'array' }>): MetadataValue | undefined {
    const { of, length, at, end } = array;
    if (of === 'string' || of === 'array' || length === 0) return undefined;
    const bytes = (end - at) / length;
    for (let i = at + bytes; i < end; i++) {
      if (this.header[i] !== this.header[i - bytes]) return undefined;
    }
    return this.scalar(of, at);
  }

  private scalar(type: ScalarType, at: number): MetadataValue {
    switch (type) {
      case 'u8':
        return this.view.getUint8(at);
      case 'i8':
        return this.view.getInt8(at);
      case 'u16':
        return this.view.getUint16(at, true);
      case 'i16':
        return this.view.getInt16(at, true);
      case 'u32':
        return this.view.getUint32(at, true);
      case 'i32':
        return this.view.getInt32(at, true);
      case 'f32':
        return this.view.getFloat32(at, true);
      case 'bool':
        return this.view.getUint8(at) !== 0;
      case 'u64':
        return this.view.getBigUint64(at, true);
      case 'i64':
        return this.view.getBigInt64(at, true);
      case 'f64':
        return this.view.getFloat64(at, true);
    }
  }
}
