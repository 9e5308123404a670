import { describe } from '../../errors.js';
import { MAX_DIMENSIONS, MAX_EXTERNAL_ENTRIES } from '../../files/limits.js';
import { type DataField, ELEMENT_TYPES, type ElementType, packedBytes } from './element-types.js';
import { BYTES, FIXED32, FIXED64, type Field, type ProtobufFile, type Span, VARINT } from './protobuf.js';

/** The location of an initialiser's numbers. */
type Data =
  /**
   * In the model's file, as in memory: `raw_data`, or a list of 4 or 8 byte floats in one piece.
   */
  | { readonly kind: 'inline'; readonly offset: number }
  /**
   * In the model's file as varints, in one piece: every number takes as many bytes as its value
   * needs.
   */
  | { readonly kind: 'varints'; readonly span: Span; readonly count: number; readonly itemBytes: 1 | 2 | 4 | 8 }
  /**
   * In another file; `entries` are unchanged. `offset` is the field of its entry, if there is one.
   */
  | { readonly kind: 'external'; readonly entries: ReadonlyMap<string, string>; readonly offset: Field | undefined }
  /** Valid, but not readable here; `why` completes "its data are". */
  | { readonly kind: 'unreadable'; readonly why: string };

/** What the text of a left factor says whose weight the model multiplied by transposed. */
export const OF_TURNED = 'left factor of a weight [out, in]';

/** A constant tensor of a model, without its numbers. */
export interface Constant {
  /** Empty for a tensor that a node or its attribute names. */
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  /** Bytes of the numbers in memory; for strings, of all of them together. */
  readonly bytes: number;
  readonly data: Data;
  /** Whether its text is {@link OF_TURNED}. */
  readonly ofTurned: boolean;
}

const DATA_FIELDS: ReadonlyMap<number, DataField> = new Map([
  [4, 'float_data'],
  [5, 'int32_data'],
  [6, 'string_data'],
  [7, 'int64_data'],
  [10, 'double_data'],
  [11, 'uint64_data'],
]);
/** The wire type of a single element in each field; in a list they are packed. */
const ITEM: Readonly<Record<DataField, Field['type']>> = {
  float_data: FIXED32,
  int32_data: VARINT,
  string_data: BYTES,
  int64_data: VARINT,
  double_data: FIXED64,
  uint64_data: VARINT,
};

/**
 * The content of a typed field: its first piece, the number of pieces, and their bytes together.
 */
interface Pieces {
  readonly first: Field;
  count: number;
  bytes: number;
}

/** The relevant fields of a TensorProto as they were found. */
interface TensorFields {
  readonly dims: number[];
  readonly lists: Map<DataField, Pieces>;
  readonly entries: Map<string, string>;
  offset?: Field;
  name?: string;
  dataType?: number;
  raw?: Field;
  location?: number;
  ofTurned: boolean;
}

/**
 * Reads a TensorProto without its data, and checks that the data are there: in the right field and
 * of the right length.
 *
 * @throws {@link CheckpointError} kinds `InvalidTensor`, `UnknownElementType`, `InvalidShape`,
 *   `InvalidDataLength`, `InvalidExternalData`, and those of {@link ProtobufFile}.
 */
export async function readTensorProto(proto: ProtobufFile, span: Span): Promise<Constant> {
  const found: TensorFields = { dims: [], lists: new Map(), entries: new Map(), ofTurned: false };
  const at = () => nameOf(found, span);
  const once = (value: unknown, what: string) => {
    if (value !== undefined) throw proto.fault('InvalidTensor', `${at()} has ${what} twice`);
  };
  await proto.message(span, (field) => {
    switch (field.number) {
      case 1:
        addDims(proto, field, found.dims, at());
        break;
      case 2:
        once(found.dataType, 'a data_type');
        found.dataType = integer(proto, field, 'data_type');
        break;
      case 3:
        throw proto.fault('InvalidTensor', `${at()} is a segment of a tensor, which no reader supports`);
      case 8:
        once(found.name, 'a name');
        found.name = proto.text(field, 'the name of a tensor');
        break;
      case 9:
        once(found.raw, 'raw_data');
        if (field.type !== BYTES) throw proto.fault('InvalidTensor', `${at()} has raw_data that are not bytes`);
        found.raw = field;
        break;
      case 12:
        // Texts may be of any length, and are of no interest else.
        if (field.type === BYTES && field.end - field.begin === OF_TURNED.length) {
          found.ofTurned = proto.text(field, 'the doc_string of a tensor') === OF_TURNED;
        }
        break;
      case 13:
        return addEntry(proto, field, found.entries, at()).then((key) => {
          if (key === 'offset') found.offset = field;
        });
      case 14:
        once(found.location, 'a data_location');
        found.location = integer(proto, field, 'data_location');
        break;
      default: {
        const list = DATA_FIELDS.get(field.number);
        if (list !== undefined) addPiece(proto, found.lists, list, field, at());
      }
    }
    return undefined;
  });
  return asConstant(proto, found, span);
}

function asConstant(proto: ProtobufFile, { name = '', dims, dataType, ...found }: TensorFields, span: Span): Constant {
  const at = nameOf({ name }, span);
  if (name.includes('\0')) throw proto.fault('InvalidName', `the name ${at} contains a NUL`);
  const type = ELEMENT_TYPES.get(dataType ?? 0);
  if (type === undefined) {
    throw proto.fault('UnknownElementType', `${at} has the data_type ${describe(dataType)}`, {
      hint: 'The file is damaged, or uses a newer ONNX than this package supports.',
    });
  }
  const elements = dims.reduce((product, dimension) => product * dimension, 1);
  const bytes = type.bits === undefined ? 0 : packedBytes(elements, type.bits);
  // A product of integers that exceeds 2^53 stays beyond it, unless a 0 follows: then nothing is
  // stored.
  if (!Number.isSafeInteger(elements) || !Number.isSafeInteger(bytes)) {
    throw proto.fault('InvalidShape', `${at} of shape [${dims.join(', ')}] has more than 2^53 bytes`);
  }
  const common = { name, type, dims, bytes, ofTurned: found.ofTurned };
  if (found.location !== undefined && found.location > 1) {
    throw proto.fault('InvalidTensor', `${at} has the unknown data_location ${describe(found.location)}`);
  }
  const sources = [...found.lists.keys(), ...(found.raw === undefined ? [] : ['raw_data'])];
  if (found.location === 1) {
    if (sources.length > 0) {
      throw proto.fault('InvalidTensor', `${at} has its data in another file, but also ${sources.join(', ')}`);
    }
    if (type.bits === undefined)
      throw proto.fault('InvalidExternalData', `${at} has strings, which cannot be external`);
    return { ...common, data: { kind: 'external', entries: found.entries, offset: found.offset } };
  }
  if (sources.length > 1) throw proto.fault('InvalidTensor', `${at} has its data several times: ${sources.join(', ')}`);
  if (sources.length === 0) {
    if (elements > 0) throw proto.fault('InvalidDataLength', `${at} of shape [${dims.join(', ')}] has no data`);
    return { ...common, data: { kind: 'inline', offset: span.begin } };
  }
  const wrongLength = (count: number | string, expected: number | string) =>
    proto.fault(
      'InvalidDataLength',
      `${at} (${type.dtype} of shape [${dims.join(', ')}]) has ${count} of data, expected ${expected}`,
    );

  if (found.raw !== undefined) {
    if (type.bits === undefined) throw proto.fault('InvalidTensor', `${at} has strings, which raw_data cannot hold`);
    const length = found.raw.end - found.raw.begin;
    if (length !== bytes) throw wrongLength(`${length} bytes`, bytes);
    return { ...common, data: { kind: 'inline', offset: found.raw.begin } };
  }

  const [list, pieces] = [...found.lists][0]!;
  if (list !== type.field) throw proto.fault('InvalidTensor', `${at} is ${type.dtype}, but has its data in ${list}`);
  if (type.bits === undefined) {
    if (pieces.count !== elements) throw wrongLength(`${pieces.count} texts`, elements);
    return { ...common, bytes: pieces.bytes, data: { kind: 'unreadable', why: 'texts' } };
  }
  const whole = pieces.count === 1 && (pieces.first.type === BYTES || elements === 1);
  if (ITEM[list] !== VARINT) {
    if (pieces.bytes !== bytes) throw wrongLength(`${pieces.bytes} bytes`, bytes);
    if (whole) return { ...common, data: { kind: 'inline', offset: pieces.first.begin } };
    return { ...common, data: { kind: 'unreadable', why: `a list of ${list} in several pieces` } };
  }
  // Each varint has 1 to 10 bytes. The exact count is checked when the data are read.
  const isSixBit = type.bits === 6;
  const count = type.bits >= 8 || isSixBit ? elements : bytes;
  if (pieces.bytes < count || pieces.bytes > 10 * count) throw wrongLength(`${pieces.bytes} bytes`, `${count} varints`);
  if (!whole) return { ...common, data: { kind: 'unreadable', why: `a list of ${list} in several pieces` } };
  if (isSixBit) return { ...common, data: { kind: 'unreadable', why: `6 bit numbers in ${list}` } };
  const itemBytes = Math.max(1, type.bits / 8) as 1 | 2 | 4 | 8;
  return { ...common, data: { kind: 'varints', span: pieces.first, count, itemBytes } };
}

function nameOf({ name }: Pick<TensorFields, 'name'>, { begin }: Span): string {
  return name ? describe(name) : `the tensor at byte ${begin}`;
}

function addDims(proto: ProtobufFile, field: Field, dims: number[], at: string): void {
  const more = proto.integers(field, `a dimension of ${at}`);
  if (more === undefined || dims.length + more.length > MAX_DIMENSIONS) {
    throw proto.fault('InvalidShape', `${at} has more than ${MAX_DIMENSIONS} dimensions`);
  }
  for (const dimension of more) {
    // Negative numbers are written as 64 bits, with the highest bit set.
    if (dimension > Number.MAX_SAFE_INTEGER) {
      throw proto.fault('InvalidShape', `${at} has a dimension that is negative or beyond 2^53`);
    }
    dims.push(dimension);
  }
}

/** @returns the key of the entry */
async function addEntry(proto: ProtobufFile, field: Field, entries: Map<string, string>, at: string): Promise<string> {
  if (field.type !== BYTES) throw proto.fault('InvalidExternalData', `${at} has external_data that are not a message`);
  let key = '';
  let value = '';
  await proto.message(field, (part) => {
    if (part.number === 1) key = proto.text(part, 'a key of external_data');
    if (part.number === 2) value = proto.text(part, 'a value of external_data');
    return undefined;
  });
  if (entries.has(key))
    throw proto.fault('InvalidExternalData', `${at} states ${describe(key)} of external_data twice`);
  if (entries.set(key, value).size > MAX_EXTERNAL_ENTRIES) {
    throw proto.fault('InvalidExternalData', `${at} has more than ${MAX_EXTERNAL_ENTRIES} entries of external_data`);
  }
  return key;
}

function addPiece(proto: ProtobufFile, lists: TensorFields['lists'], list: DataField, field: Field, at: string): void {
  if (field.type !== BYTES && field.type !== ITEM[list]) {
    throw proto.fault('InvalidTensor', `${at} has ${list} of the wrong wire type`);
  }
  const pieces = lists.get(list);
  const bytes = field.end - field.begin;
  if (pieces === undefined) {
    lists.set(list, { first: field, count: 1, bytes });
  } else {
    pieces.count++;
    pieces.bytes += bytes;
  }
}

function integer(proto: ProtobufFile, field: Field, what: string): number {
  if (field.type !== VARINT) throw proto.fault('InvalidTensor', `${what} at byte ${field.begin} is not an integer`);
  return field.value;
}

/**
 * Decodes a list of varints to little-endian bytes. Negative numbers were written as 64 bits, of
 * which the lowest count.
 *
 * @returns undefined if the bytes contain another number of varints than `count`
 */
export function decodeVarints(bytes: Uint8Array, count: number, itemBytes: 1 | 2 | 4 | 8): Uint8Array | undefined {
  const out = new Uint8Array(count * itemBytes);
  let at = 0;
  for (let index = 0; index < count; index++) {
    const start = at;
    while (at < bytes.length && bytes[at]! >= 0x80) at++;
    if (at >= bytes.length || at - start >= 10) return undefined;
    at++;
    for (let i = start; i < at; i++) {
      const bit = 7 * (i - start);
      const place = bit >> 3;
      const wide = (bytes[i]! & 0x7f) << (bit & 7);
      if (place < itemBytes) out[index * itemBytes + place]! |= wide & 0xff;
      if (place + 1 < itemBytes) out[index * itemBytes + place + 1]! |= wide >> 8;
    }
  }
  return at === bytes.length ? out : undefined;
}
