import { varint } from '../support/onnx.js';
import { mutateBytes } from './bytes.js';
import { NUMBERS, type Random } from './random.js';

/** A field of a message; what has a length may be a message itself. */
interface Field {
  number: number;
  wire: number;
  value: Uint8Array;
  inner: Field[] | undefined;
}

const DEPTH = 8;

/**
 * Changes one field somewhere in a message, and writes all lengths around it as they have to be.
 */
export function mutateProtobuf(random: Random, input: Uint8Array): Uint8Array {
  const fields = fieldsOf(input, DEPTH);
  if (fields === undefined || random.chance(0.2)) return mutateBytes(random, input);
  const places = placesOf(fields);
  if (places.length === 0) return mutateBytes(random, input);
  const { among, index } = random.pick(places);
  const field = among[index]!;
  switch (random.below(8)) {
    case 0:
      among.splice(index, 1);
      break;
    case 1:
      among.splice(random.below(among.length + 1), 0, structuredClone(field));
      break;
    case 2:
      field.number = random.pick([0, 1, 2, 3, 4, 5, 7, 8, 9, 13, 14, 15, 20, 2 ** 28, random.below(32)]);
      break;
    case 3:
      field.wire = random.below(8);
      break;
    case 4: {
      const { among: other, index: at } = random.pick(places);
      const copy = structuredClone(other[at]!);
      among[index] = random.chance(0.5) ? { ...copy, number: field.number } : copy;
      break;
    }
    default:
      field.inner = undefined;
      field.value = field.wire === 0 ? varint(random.pick(NUMBERS)) : mutateBytes(random, field.value);
  }
  return written(fields).subarray(0, 1 << 17);
}

function placesOf(fields: Field[]): { among: Field[]; index: number }[] {
  return fields.flatMap((field, index) => [{ among: fields, index }, ...(field.inner ? placesOf(field.inner) : [])]);
}

function written(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(({ number, wire, value, inner }) => {
      const content = inner === undefined ? value : written(inner);
      return [varint(number * 8 + wire), ...(wire === 2 ? [varint(content.length)] : []), content];
    }),
  );
}

/** Reads bytes as a message; undefined where they are none. */
function fieldsOf(bytes: Uint8Array, depth: number): Field[] | undefined {
  const fields: Field[] = [];
  let at = 0;
  const number = (): number | undefined => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) return undefined;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number(value);
    }
    return undefined;
  };
  while (at < bytes.length) {
    const key = number();
    if (key === undefined || key < 8) return undefined;
    const wire = key % 8;
    const begin = at;
    if (wire === 0) {
      if (number() === undefined) return undefined;
      fields.push({ number: Math.floor(key / 8), wire, value: bytes.slice(begin, at), inner: undefined });
      continue;
    }
    const length = wire === 1 ? 8 : wire === 5 ? 4 : wire === 2 ? number() : undefined;
    if (length === undefined || at + length > bytes.length) return undefined;
    const value = bytes.slice(at, at + length);
    at += length;
    const inner = wire === 2 && depth > 0 && length > 1 ? fieldsOf(value, depth - 1) : undefined;
    fields.push({ number: Math.floor(key / 8), wire, value, inner });
  }
  return fields;
}
