import { ArgumentError, LowRankError } from '../errors.js';
import { QUANTIZED_BLOCKS, type QuantizedType } from './dtype.js';
import { halfAt, positiveToHalf } from './half.js';
import { SMALL_DECODERS } from './small-quants.js';

/*
 * Decodes and encodes the blocks of quantised numbers in GGUF. Layouts and arithmetic are those of
 * ggml's reference code (`ggml-quants.c`, the functions `dequantize_row_*` and
 * `quantize_row_q8_0_ref`); results are equal to the last bit.
 *
 * A number is `scale * q`, or `scale * q + offset`, with small whole q. Before the last operation
 * everything is exact in float32 and in JavaScript's doubles alike, so the only rounding happens
 * when the result is stored in a Float32Array.
 */

/** Decodes the block that starts at `at` into `out` from `to` on. */
type Decoder = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

const DECODERS: Readonly<Record<QuantizedType, Decoder>> = {
  ...SMALL_DECODERS,

  // scale | 32 x 4 bits: the low halves are the first 16 numbers, the high ones the others.
  Q4_0(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 2 + i]!;
      out[to + i] = scale * ((pair & 15) - 8);
      out[to + 16 + i] = scale * ((pair >> 4) - 8);
    }
  },

  // scale | offset | as Q4_0, not negative
  Q4_1(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    const offset = halfAt(bytes, at + 2);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 4 + i]!;
      out[to + i] = scale * (pair & 15) + offset;
      out[to + 16 + i] = scale * (pair >> 4) + offset;
    }
  },

  // scale | 32 fifth bits | 32 x 4 bits
  Q5_0(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 6 + i]!;
      out[to + i] = scale * (((pair & 15) | fifth(bytes, at + 2, i)) - 16);
      out[to + 16 + i] = scale * (((pair >> 4) | fifth(bytes, at + 2, 16 + i)) - 16);
    }
  },

  // scale | offset | 32 fifth bits | 32 x 4 bits
  Q5_1(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    const offset = halfAt(bytes, at + 2);
    for (let i = 0; i < 16; i++) {
      const pair = bytes[at + 8 + i]!;
      out[to + i] = scale * ((pair & 15) | fifth(bytes, at + 4, i)) + offset;
      out[to + 16 + i] = scale * ((pair >> 4) | fifth(bytes, at + 4, 16 + i)) + offset;
    }
  },

  // scale | 32 signed bytes
  Q8_0(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    for (let i = 0; i < 32; i++) out[to + i] = scale * signed(bytes[at + 2 + i]!);
  },

  // 16 x (4 bits of scale, 4 of offset) | 256 x 2 bits | scale of the scales | scale of the offsets
  Q2_K(bytes, at, out, to) {
    const scale = halfAt(bytes, at + 80);
    const offset = halfAt(bytes, at + 82);
    for (let group = 0; group < 16; group++) {
      const own = bytes[at + group]!;
      const groupScale = scale * (own & 15);
      const groupOffset = offset * (own >> 4);
      const numbers = at + 16 + twoBitByte(group);
      const shift = twoBitShift(group);
      for (let i = 0; i < 16; i++) {
        out[to + 16 * group + i] = groupScale * ((bytes[numbers + i]! >> shift) & 3) - groupOffset;
      }
    }
  },

  // 256 third bits | 256 x 2 bits | 16 x 6 bits of scale | scale of the scales
  Q3_K(bytes, at, out, to) {
    const scale = halfAt(bytes, at + 108);
    for (let group = 0; group < 16; group++) {
      const groupScale = scale * threeBitScale(bytes, at + 96, group);
      const numbers = at + 32 + twoBitByte(group);
      const shift = twoBitShift(group);
      const thirds = at + 16 * (group & 1);
      const third = 1 << (group >> 1);
      for (let i = 0; i < 16; i++) {
        const low = (bytes[numbers + i]! >> shift) & 3;
        out[to + 16 * group + i] = groupScale * (bytes[thirds + i]! & third ? low : low - 4);
      }
    }
  },

  // scale of the scales | scale of the offsets | 8 x (6 bits of scale, 6 of offset) | 256 x 4 bits
  Q4_K(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    const offset = halfAt(bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const groupScale = scale * sixBitScale(bytes, at + 4, group);
      const groupOffset = offset * sixBitOffset(bytes, at + 4, group);
      const numbers = at + 16 + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      for (let i = 0; i < 32; i++) {
        out[to + 32 * group + i] = groupScale * ((bytes[numbers + i]! >> shift) & 15) - groupOffset;
      }
    }
  },

  // as Q4_K, with 256 fifth bits before the numbers
  Q5_K(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    const offset = halfAt(bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const groupScale = scale * sixBitScale(bytes, at + 4, group);
      const groupOffset = offset * sixBitOffset(bytes, at + 4, group);
      const numbers = at + 48 + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      for (let i = 0; i < 32; i++) {
        const high = ((bytes[at + 16 + i]! >> group) & 1) << 4;
        out[to + 32 * group + i] = groupScale * (((bytes[numbers + i]! >> shift) & 15) | high) - groupOffset;
      }
    }
  },

  // 256 x 4 bits | 256 x 2 upper bits | 16 signed bytes of scale | scale of the scales
  Q6_K(bytes, at, out, to) {
    const scale = halfAt(bytes, at + 208);
    for (let group = 0; group < 16; group++) {
      const groupScale = scale * signed(bytes[at + 192 + group]!);
      const low = at + 64 * (group >> 3) + 16 * (group & 3);
      const lowShift = group & 4;
      const high = at + 128 + twoBitByte(group);
      const highShift = twoBitShift(group);
      for (let i = 0; i < 16; i++) {
        const number = ((bytes[low + i]! >> lowShift) & 15) | (((bytes[high + i]! >> highShift) & 3) << 4);
        out[to + 16 * group + i] = groupScale * (number - 32);
      }
    }
  },
};

/**
 * Decodes quantised blocks to float32.
 *
 * @throws ArgumentError `ERR_SHAPE` if the bytes are not a whole number of blocks.
 */
export function dequantize(bytes: Uint8Array, type: QuantizedType): Float32Array {
  const block = QUANTIZED_BLOCKS[type];
  if (bytes.length % block.bytes !== 0) {
    throw new ArgumentError('bytes', `a multiple of ${block.bytes} bytes for ${type}`, bytes.length, 'ERR_SHAPE');
  }
  const out = new Float32Array((bytes.length / block.bytes) * block.numbers);
  const decode = DECODERS[type];
  for (let at = 0, to = 0; at < bytes.length; at += block.bytes, to += block.numbers) decode(bytes, at, out, to);
  return out;
}

/**
 * Encodes float32 numbers as blocks of Q8_0: the largest of 32 numbers becomes 127 or -127, the
 * others multiples of its 127th part, rounded to nearest, halves away from zero.
 *
 * @throws ArgumentError `ERR_SHAPE` if the numbers do not fill whole blocks.
 * @throws LowRankError `ERR_UNSUPPORTED` for numbers that are not finite, or whose scale does not
 *   fit into a half float (over 8.3 million).
 */
export function quantizeQ8(data: Float32Array): Uint8Array {
  const { numbers, bytes } = QUANTIZED_BLOCKS.Q8_0;
  if (data.length % numbers !== 0) {
    throw new ArgumentError('data', `a multiple of ${numbers} numbers for Q8_0`, data.length, 'ERR_SHAPE');
  }
  const out = new Uint8Array((data.length / numbers) * bytes);
  for (let from = 0, at = 0; from < data.length; from += numbers, at += bytes) {
    let largest = 0;
    for (let i = from; i < from + numbers; i++) {
      const size = Math.abs(data[i]!);
      // A NaN remains once it is found: no comparison with it is true.
      if (size > largest || Number.isNaN(size)) largest = size;
    }
    // The reference computes in float32, and multiplies by the reciprocal.
    const scale = Math.fround(largest / 127);
    const reciprocal = scale === 0 ? 0 : Math.fround(1 / scale);
    const bits = scale < 65520 ? positiveToHalf(scale) : undefined;
    if (bits === undefined || bits >= 0x7c00) {
      throw new LowRankError('ERR_UNSUPPORTED', `a number of size ${largest} cannot be stored as Q8_0`, {
        hint: 'Store the tensor as F32.',
      });
    }
    out[at] = bits & 0xff;
    out[at + 1] = bits >> 8;
    // Numbers so small that the reciprocal overflows are already zero by their scale.
    if (reciprocal === Number.POSITIVE_INFINITY) continue;
    for (let i = 0; i < numbers; i++) out[at + 2 + i] = roundHalfAway(Math.fround(data[from + i]! * reciprocal));
  }
  return out;
}

function signed(byte: number): number {
  return (byte << 24) >> 24;
}

/** Returns the fifth bit of number `i`, in its place, from the 32 bits at `at`. */
function fifth(bytes: Uint8Array, at: number, i: number): number {
  return ((bytes[at + (i >> 3)]! >> (i & 7)) & 1) << 4;
}

/**
 * Returns the byte offset of a group of 16 numbers among 256 numbers of 2 bits: 32 bytes hold four
 * times 32 numbers, the first 32 in their lowest bits.
 */
function twoBitByte(group: number): number {
  return 32 * (group >> 3) + 16 * (group & 1);
}

function twoBitShift(group: number): number {
  return group & 6;
}

/**
 * Returns a scale of Q3_K: 16 lower halves in 8 bytes, then the 2 upper bits, 4 scales a byte; 32
 * stands for zero.
 */
function threeBitScale(bytes: Uint8Array, at: number, group: number): number {
  const low = (bytes[at + (group & 7)]! >> (group < 8 ? 0 : 4)) & 15;
  const high = (bytes[at + 8 + (group & 3)]! >> (2 * (group >> 2))) & 3;
  return (low | (high << 4)) - 32;
}

/**
 * Returns a scale of Q4_K and Q5_K. Twelve bytes hold 8 scales and 8 offsets of 6 bits: scales 0 to
 * 3, offsets 0 to 3, then the lower halves of scales and offsets 4 to 7, whose upper bits are the
 * upper bits of the first eight bytes.
 */
function sixBitScale(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return bytes[at + group]! & 63;
  return (bytes[at + group + 4]! & 15) | ((bytes[at + group - 4]! >> 6) << 4);
}

function sixBitOffset(bytes: Uint8Array, at: number, group: number): number {
  if (group < 4) return bytes[at + group + 4]! & 63;
  return (bytes[at + group + 4]! >> 4) | ((bytes[at + group]! >> 6) << 4);
}

function roundHalfAway(value: number): number {
  return value < 0 ? -Math.floor(0.5 - value) : Math.floor(value + 0.5);
}
