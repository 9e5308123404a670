import type { StoredType } from '../../tensor/dtype.js';
import { elements } from '../../tensor/tensor.js';
import type { ByteRange } from '../checkpoint.js';
import { ELEMENT_TYPES } from './element-types.js';
import { BYTES, VARINT } from './protobuf.js';

/**
 * Messages of ONNX in the wire format of protocol buffers: just those that a spliced model gets.
 */

/** An integer of at least 0, seven bits a byte. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 0x80);
    rest = Math.floor(rest / 128);
  }
  return Uint8Array.from([...bytes, rest]);
}

/** The tag and the length of a field whose value follows. */
export function prefix(number: number, length: number): Uint8Array {
  return joined(varint(number * 8 + BYTES), varint(length));
}

/** A field: a number as a varint, text or bytes with their length. */
export function field(number: number, value: number | string | Uint8Array): Uint8Array {
  if (typeof value === 'number') return joined(varint(number * 8 + VARINT), varint(value));
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  return joined(prefix(number, bytes.length), bytes);
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

const CODES: ReadonlyMap<StoredType, number> = new Map([...ELEMENT_TYPES].map(([code, { dtype }]) => [dtype, code]));

/** The number of `TensorProto.DataType`. */
export function elementCode(dtype: StoredType): number {
  return CODES.get(dtype)!;
}

/** A TensorProto up to its numbers, of which `bytes` follow. */
export function tensorStart(
  name: string,
  dtype: StoredType,
  shape: readonly number[],
  bytes: number,
  doc?: string,
): Uint8Array {
  return joined(tensorHead(name, dtype, shape, doc), prefix(9, bytes));
}

function tensorHead(name: string, dtype: StoredType, shape: readonly number[], doc: string | undefined): Uint8Array {
  const dims = shape.map((dimension) => field(1, dimension));
  const described = doc === undefined ? [] : [field(12, doc)];
  return joined(...dims, field(2, elementCode(dtype)), field(8, name), ...described);
}

/** A TensorProto whose numbers lie in a file of external data. */
export function externalTensor(
  name: string,
  dtype: StoredType,
  shape: readonly number[],
  location: string,
  { offset, bytes }: ByteRange,
  doc?: string,
): Uint8Array {
  const entries = [entry('location', location), entry('offset', String(offset)), entry('length', String(bytes))];
  return joined(tensorHead(name, dtype, shape, doc), ...entries, field(14, 1));
}

/** A field `external_data` of a TensorProto. */
export function entry(key: string, value: string): Uint8Array {
  return field(13, joined(field(1, key), field(2, value)));
}

/** A ValueInfoProto of a tensor. */
export function valueInfo(name: string, dtype: StoredType, shape: readonly number[]): Uint8Array {
  const dims = shape.map((size) => field(1, field(1, size)));
  const tensorType = joined(field(1, elementCode(dtype)), field(2, joined(...dims)));
  return joined(field(1, name), field(2, field(1, tensorType)));
}

/** A whole TensorProto of whole numbers. */
export function integersTensor(name: string, numbers: readonly number[]): Uint8Array {
  const data = new Uint8Array(new BigInt64Array(numbers.map(BigInt)).buffer);
  return joined(tensorStart(name, 'I64', [numbers.length], data.length), data);
}

/** A whole TensorProto of one zero. */
export function zeroTensor(dtype: StoredType, bytes: number): Uint8Array {
  return joined(tensorStart('', dtype, [1], elements([bytes])), new Uint8Array(bytes));
}

/** An attribute: a whole number, or a tensor. */
export function attribute(name: string, value: number | Uint8Array): Uint8Array {
  const [number, type] = typeof value === 'number' ? [3, 2] : [5, 4];
  return field(5, joined(field(1, name), field(number, value), field(20, type)));
}

/** A NodeProto of the default domain. */
export function node(
  opType: string,
  name: string,
  inputs: readonly string[],
  output: string,
  ...attributes: readonly Uint8Array[]
): Uint8Array {
  return joined(
    ...inputs.map((input) => field(1, input)),
    field(2, output),
    field(3, name),
    field(4, opType),
    ...attributes,
  );
}
