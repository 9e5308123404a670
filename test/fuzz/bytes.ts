import { NUMBERS, type Random } from './random.js';

const LONGEST = 1 << 16;

/** Changes bytes without knowing what they mean. */
export function mutateBytes(random: Random, input: Uint8Array, other: Uint8Array = input): Uint8Array {
  const bytes = Buffer.from(input);
  const at = random.below(bytes.length + 1);
  switch (random.below(9)) {
    case 0:
      if (at < bytes.length) bytes[at]! ^= 1 << random.below(8);
      return bytes;
    case 1:
      if (at < bytes.length) bytes[at] = random.below(256);
      return bytes;
    case 2:
    case 3:
      return withNumber(random, bytes, at);
    case 4:
      return bytes.subarray(0, at);
    case 5: {
      const length = random.below(16);
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
    }
    case 6: {
      const added = Buffer.alloc(random.below(32), random.below(256));
      return Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at)]);
    }
    case 7: {
      const part = bytes.subarray(at, at + random.below(64));
      const times = random.chance(0.1) ? 200 : 1;
      return Buffer.concat([bytes.subarray(0, at), ...Array(times).fill(part), bytes.subarray(at)]).subarray(
        0,
        LONGEST,
      );
    }
    default: {
      const from = random.below(other.length + 1);
      return Buffer.concat([bytes.subarray(0, at), other.subarray(from)]).subarray(0, LONGEST);
    }
  }
}

/** Writes a notable number of 1, 2, 4 or 8 bytes, little-endian. */
function withNumber(random: Random, bytes: Buffer, at: number): Buffer {
  const size = random.pick([1, 2, 4, 4, 8, 8, 8]);
  if (bytes.length < size) return bytes;
  const place = Math.min(at, bytes.length - size);
  const number = Buffer.alloc(8);
  number.writeBigUInt64LE(BigInt.asUintN(64, random.pick(NUMBERS)));
  number.copy(bytes, place, 0, size);
  return bytes;
}
