import { isUtf8 } from 'node:buffer';
import { ArgumentError, CheckpointError, describe } from '../../errors.js';
import { JsonReader } from '../../files/json.js';
import { MAX_DIMENSIONS, MAX_HEADER_BYTES, MAX_TENSORS } from '../../files/limits.js';
import { DTYPE_BITS, type DType } from '../../tensor/dtype.js';

/*
 * A safetensors file: 8 bytes N (u64, little-endian), N bytes of JSON, then the data, which the
 * tensors cover without gap or overlap. Rules and names of faults are those of the reference
 * implementation (huggingface/safetensors, safetensors/src/tensor.rs), in its order. This reader
 * refuses more than the reference:
 *
 * - `InvalidHeaderStart`: white space before the `{`, which the text of the format forbids.
 * - `InvalidHeaderDeserialization`: equal names, or equal keys of `__metadata__`, which the format
 *   also forbids, while the reference takes the last; a tensor written as an array, a dtype as an
 *   object (forms that its JSON library happens to accept); numbers over 1e308 and nesting over 100
 *   in fields that nobody reads.
 * - `TooManyTensors`, `TooManyDimensions`: the limits of limits.ts.
 * - `ValidationOverflow`: a dimension beyond 2^53 - 1, possible beside a dimension of 0, which is
 *   no exact number in JavaScript.
 *
 * Unknown fields of a tensor are skipped, and the order of tensors is free, as in the reference.
 */

/** The bytes before the header: its length. */
export const PREFIX_BYTES = 8;

const METADATA = '__metadata__';
const MAX_U64 = 2n ** 64n - 1n;

/** A tensor as the header describes it; `begin` and `end` count from the start of the data. */
export interface TensorSpan {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** A valid header. */
export interface SafetensorsHeader {
  /** `__metadata__`, if there is one. */
  readonly metadata: ReadonlyMap<string, string> | undefined;
  /** In the order of their bytes. */
  readonly tensors: readonly TensorSpan[];
  /** The position of the data in the file. */
  readonly dataStart: number;
}

/** A tensor in the JSON, before it is known to be consistent. */
interface RawTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly bigint[];
  readonly begin: bigint;
  readonly end: bigint;
}

/**
 * Returns the length of the header from the first bytes of a file.
 *
 * @param prefix - the first 8 bytes, or all there are
 * @param fileBytes - the size of the whole file
 * @throws {@link CheckpointError} `HeaderTooSmall`, `HeaderTooLarge`, `InvalidHeaderLength`.
 */
export function parseHeaderLength(prefix: Uint8Array, fileBytes: number, file: string): number {
  if (prefix.length < PREFIX_BYTES) {
    throw fault('HeaderTooSmall', file, `a safetensors file has at least 8 bytes, this one ${prefix.length}`);
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    const begins = Buffer.from(prefix)
      .toString('hex')
      .replace(/..(?!$)/g, '$& ');
    const message =
      length > fileBytes
        ? `does not start with the length of a header, like a safetensors file, but with the bytes ${begins}`
        : `a header of ${length} bytes, but the format allows ${MAX_HEADER_BYTES}`;
    throw fault('HeaderTooLarge', file, message, { hint: 'Check that it is a safetensors file at all.' });
  }
  if (PREFIX_BYTES + Number(length) > fileBytes) {
    throw fault('InvalidHeaderLength', file, `a header of ${length} bytes in a file of ${fileBytes}`, CUT_SHORT);
  }
  return Number(length);
}

/**
 * Reads and checks a header.
 *
 * @param header - its bytes, without the 8 before it
 * @param fileBytes - the size of the whole file
 * @param maxTensors - the most tensors that it may name
 * @throws {@link CheckpointError} with the reference reader's names as `kind`, and those of the
 *   stricter rules above.
 */
export function parseHeader(
  header: Uint8Array,
  fileBytes: number,
  file: string,
  maxTensors = MAX_TENSORS,
): SafetensorsHeader {
  if (!isUtf8(header)) throw fault('InvalidHeader', file, 'the header is not valid UTF-8');
  const { metadata, tensors } = deserialize(header, file, maxTensors);
  if (header[0] !== 0x7b) {
    throw fault('InvalidHeaderStart', file, "the header must start with '{', but white space comes first");
  }
  const dataStart = PREFIX_BYTES + header.length;
  return { metadata, tensors: validate(tensors, BigInt(fileBytes - dataStart), file), dataStart };
}

function deserialize(
  header: Uint8Array,
  file: string,
  maxTensors: number,
): Pick<SafetensorsHeader, 'metadata'> & { tensors: RawTensor[] } {
  const json = new JsonReader(header, (message) => {
    throw fault('InvalidHeaderDeserialization', file, `the header is not a valid description of tensors: ${message}`);
  });
  const tensors = new Map<string, RawTensor>();
  let metadata: ReadonlyMap<string, string> | undefined;
  let metadataSeen = false;
  json.object((name) => {
    if (name === METADATA) {
      if (metadataSeen) json.fault(`duplicate ${METADATA}`);
      metadataSeen = true;
      metadata = json.null() ? undefined : readMetadata(json);
      return;
    }
    if (tensors.has(name)) json.fault(`duplicate tensor ${describe(name)}`);
    if (tensors.size === maxTensors) throw fault('TooManyTensors', file, `more than ${maxTensors} tensors`);
    tensors.set(name, readTensor(json, name, file));
  });
  json.end();
  return { metadata, tensors: [...tensors.values()] };
}

function readMetadata(json: JsonReader): Map<string, string> {
  const metadata = new Map<string, string>();
  json.object((key) => {
    if (metadata.has(key)) json.fault(`duplicate key ${describe(key)} of ${METADATA}`);
    metadata.set(key, json.string());
  });
  return metadata;
}

function readTensor(json: JsonReader, name: string, file: string): RawTensor {
  let dtype: DType | undefined;
  let shape: bigint[] | undefined;
  let offsets: bigint[] | undefined;
  const once = (key: string, value: unknown) => {
    if (value !== undefined) json.fault(`duplicate ${key} of ${describe(name)}`);
  };
  json.object((key) => {
    if (key === 'dtype') {
      once(key, dtype);
      const word = json.string();
      if (!Object.hasOwn(DTYPE_BITS, word)) json.fault(`${describe(name)} has the unknown dtype ${describe(word)}`);
      dtype = word as DType;
    } else if (key === 'shape') {
      once(key, shape);
      const dimensions: bigint[] = [];
      json.array(() => {
        if (dimensions.length === MAX_DIMENSIONS) {
          throw fault('TooManyDimensions', file, `${describe(name)} has more than ${MAX_DIMENSIONS} dimensions`);
        }
        dimensions.push(json.unsigned());
      });
      shape = dimensions;
    } else if (key === 'data_offsets') {
      once(key, offsets);
      const pair: bigint[] = [];
      json.array(() => {
        if (pair.length === 2) json.fault(`data_offsets of ${describe(name)} has more than two numbers`);
        pair.push(json.unsigned());
      });
      offsets = pair;
    } else {
      json.skip();
    }
  });
  if (dtype === undefined) return json.fault(`${describe(name)} has no dtype`);
  if (shape === undefined) return json.fault(`${describe(name)} has no shape`);
  const [begin, end] = offsets ?? [];
  if (begin === undefined || end === undefined) return json.fault(`${describe(name)} does not have two data_offsets`);
  return { name, dtype, shape, begin, end };
}

/** Every check is exact: a sum or product in doubles could be right only by rounding. */
function validate(tensors: RawTensor[], dataBytes: bigint, file: string): TensorSpan[] {
  tensors.sort((a, b) => compare(a.begin, b.begin) || compare(a.end, b.end));
  let covered = 0n;
  for (const { name, dtype, shape, begin, end } of tensors) {
    const at = describe(name);
    if (begin !== covered || end < begin) {
      const message = `${at} lies at bytes ${begin} to ${end} of the data, expected a start at ${covered}`;
      throw fault('InvalidOffset', file, message, NO_HOLES);
    }
    covered = end;
    const bits = checkedProduct([...shape, BigInt(DTYPE_BITS[dtype])]);
    if (bits === undefined) throw fault('ValidationOverflow', file, `the size of ${at} is beyond 64 bits`);
    if (bits % 8n !== 0n) throw fault('MisalignedSlice', file, `${at} (${dtype}) does not fill whole bytes`);
    if (end - begin !== bits / 8n) {
      const message = `${at} has ${end - begin} bytes, but ${dtype} of shape [${shape.join(', ')}] takes ${bits / 8n}`;
      throw fault('TensorInvalidInfo', file, message);
    }
  }
  if (covered !== dataBytes) {
    const message = `the tensors take ${covered} bytes, but the file has ${dataBytes} for them`;
    throw fault('MetadataIncompleteBuffer', file, message, covered > dataBytes ? CUT_SHORT : NO_HOLES);
  }
  return tensors.map(({ name, dtype, shape, begin, end }) => {
    if (shape.some((dimension) => dimension > Number.MAX_SAFE_INTEGER)) {
      throw fault('ValidationOverflow', file, `${describe(name)} has a dimension beyond 2^53 - 1`);
    }
    return { name, dtype, shape: shape.map(Number), begin: Number(begin), end: Number(end) };
  });
}

/**
 * Returns the product from left to right, or undefined if an intermediate one exceeds 2^64 - 1, as
 * in the reference.
 */
function checkedProduct(factors: readonly bigint[]): bigint | undefined {
  let product = 1n;
  for (const factor of factors) {
    product *= factor;
    if (product > MAX_U64) return undefined;
  }
  return product;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The reference's order of dtypes, small elements first. */
const DTYPE_ORDER: ReadonlyMap<string, number> = new Map(Object.keys(DTYPE_BITS).map((dtype, index) => [dtype, index]));

export function isDType(type: string): type is DType {
  return DTYPE_ORDER.has(type);
}

/**
 * Sorts tensors in the order in which the reference writes them: large elements first, so that each
 * tensor is aligned to its elements, then by name.
 */
export function referenceOrder(
  a: Pick<TensorLayout, 'name' | 'dtype'>,
  b: Pick<TensorLayout, 'name' | 'dtype'>,
): number {
  return DTYPE_ORDER.get(b.dtype)! - DTYPE_ORDER.get(a.dtype)! || compareBytes(a.name, b.name);
}

/**
 * Compares UTF-8 bytes; JavaScript's own order compares UTF-16 units, which differs beyond the
 * basic plane.
 */
function compareBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));
}

/** A tensor to write: its description and its bytes. */
export interface TensorLayout {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/**
 * Formats the start of a file up to its data, as the reference does: the order of `tensors` is
 * kept, and the header is padded with spaces to a multiple of 8 bytes, so that the data are
 * aligned.
 *
 * @throws {@link CheckpointError} `HeaderTooLarge`.
 */
export function formatHeader(
  tensors: readonly TensorLayout[],
  metadata: ReadonlyMap<string, string> | undefined,
  file: string,
): Uint8Array {
  const members: string[] = [];
  if (metadata !== undefined) {
    const entries = [...metadata].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    members.push(`"${METADATA}":{${entries.join(',')}}`);
  }
  let begin = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    const end = begin + bytes;
    const info = JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
    members.push(`${JSON.stringify(name)}:${info}`);
    begin = end;
  }
  const text = Buffer.from(`{${members.join(',')}}`, 'utf8');
  const length = Math.ceil(text.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw fault('HeaderTooLarge', file, `a header of ${length} bytes, but the format allows ${MAX_HEADER_BYTES}`);
  }
  const start = Buffer.alloc(PREFIX_BYTES + length, ' ');
  start.writeBigUInt64LE(BigInt(length), 0);
  text.copy(start, PREFIX_BYTES);
  return start;
}

/**
 * Checks the description of a tensor to write.
 *
 * @returns the bits that it takes
 * @throws ArgumentError for a name, dtype or shape that cannot be written.
 */
export function checkDescription(name: string, dtype: string, shape: readonly number[]): bigint {
  checkText('tensor name', name);
  const at = `tensor ${describe(name)}`;
  if (name === METADATA) throw new ArgumentError('tensor name', `another name than ${METADATA}`, name);
  if (!isDType(dtype)) throw new ArgumentError(`${at} dtype`, 'a dtype of safetensors', dtype);
  if (!Array.isArray(shape) || !shape.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0)) {
    throw new ArgumentError(`${at} shape`, 'whole numbers of at least 0', shape, 'ERR_SHAPE');
  }
  return shape.reduce((product, dimension) => product * BigInt(dimension), BigInt(DTYPE_BITS[dtype]));
}

/**
 * Checks that UTF-8 can encode a text.
 *
 * @throws ArgumentError if it cannot.
 */
export function checkText(what: string, text: string): void {
  if (typeof text !== 'string') throw new ArgumentError(what, 'a string', text);
  if (/\p{Surrogate}/u.test(text)) throw new ArgumentError(what, 'text without halves of surrogate pairs', text);
}

const CUT_SHORT = { hint: 'The file is probably truncated: download or copy it again.' };
const NO_HOLES = { hint: 'Tensors must cover the data without gap or overlap: write the file again.' };

function fault(kind: string, file: string, message: string, options: { hint?: string } = {}): CheckpointError {
  return new CheckpointError('ERR_CHECKPOINT_FORMAT', kind, file, message, options);
}
