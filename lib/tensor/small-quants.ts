import { halfAt } from './half.js';
import { type GridName, gridNumbers } from './quant-grids.js';

/*
 * Decodes the blocks of GGUF's types with one to four bits a number, whose numbers come from a
 * table: a grid of rows (IQ1 to IQ3), sixteen values (IQ4, MXFP4, NVFP4), or -1, 0 and 1 (TQ).
 * Layouts and arithmetic are those of ggml's `dequantize_row_*`; as in quantized.ts, everything is
 * exact in doubles, so results are equal to the last bit.
 */

/** Decodes the block that starts at `at` into `out` from `to` on. */
type Decoder = (bytes: Uint8Array, at: number, out: Float32Array, to: number) => void;

/** The values of IQ4's codes. */
const NON_LINEAR = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/** Twice the values of a 4-bit float, E2M1. */
const E2M1 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
/** What IQ1 adds to a grid's numbers, or subtracts. */
const DELTA = 0.125;

export const SMALL_DECODERS = {
  // scale | 8 x (4 rows of the grid, 4 x 7 bits of signs, 4 bits of scale)
  IQ2_XXS(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    for (let group = 0; group < 8; group++) {
      const rows = at + 2 + 8 * group;
      const rest = u32(bytes, rows + 4);
      const own = scale * (0.5 + (rest >>> 28)) * 0.25;
      for (let i = 0; i < 4; i++) {
        fromGrid('IQ2_XXS', bytes[rows + i]!, own, signs(rest >>> (7 * i)), out, to + 32 * group + 8 * i);
      }
    }
  },

  // scale | 32 x (9 bits of a row, 7 of signs) | 16 x 4 bits of scale
  IQ2_XS(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    for (let i = 0; i < 32; i++) {
      const code = u16(bytes, at + 2 + 2 * i);
      const own = scale * (0.5 + nibble(bytes, at + 66, i >> 1)) * 0.25;
      fromGrid('IQ2_XS', code & 511, own, signs(code >> 9), out, to + 8 * i);
    }
  },

  // scale | 32 x 8 bits of a row | 32 x 8 signs | 32 x 2 upper bits of the row | 16 x 4 bits of
  // scale
  IQ2_S(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    for (let i = 0; i < 32; i++) {
      const high = (bytes[at + 66 + (i >> 2)]! >> (2 * (i & 3))) & 3;
      const own = scale * (0.5 + nibble(bytes, at + 74, i >> 1)) * 0.25;
      fromGrid('IQ2_S', bytes[at + 2 + i]! | (high << 8), own, bytes[at + 34 + i]!, out, to + 8 * i);
    }
  },

  // scale | 64 rows of 4 numbers | 8 x (4 x 7 bits of signs, 4 bits of scale)
  IQ3_XXS(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    for (let i = 0; i < 64; i++) {
      const rest = u32(bytes, at + 66 + 4 * (i >> 3));
      const own = scale * (0.5 + (rest >>> 28)) * 0.5;
      const eight = signs(rest >>> (7 * ((i >> 1) & 3)));
      fromGrid('IQ3_XXS', bytes[at + 2 + i]!, own, eight >> (4 * (i & 1)), out, to + 4 * i);
    }
  },

  // scale | 64 x 8 bits of a row | 64 ninth bits | 32 x 8 signs | 8 x 4 bits of scale
  IQ3_S(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    for (let i = 0; i < 64; i++) {
      const high = (bytes[at + 66 + (i >> 3)]! >> (i & 7)) & 1;
      const own = scale * (1 + 2 * nibble(bytes, at + 106, i >> 3));
      const four = bytes[at + 74 + (i >> 1)]! >> (4 * (i & 1));
      fromGrid('IQ3_S', bytes[at + 2 + i]! | (high << 8), own, four, out, to + 4 * i);
    }
  },

  // scale | 32 x 8 bits of a row | 8 x (4 x 3 upper bits of rows, 3 bits of scale, sign of delta)
  IQ1_S(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    for (let i = 0; i < 32; i++) {
      const rest = u16(bytes, at + 34 + 2 * (i >> 2));
      const row = bytes[at + 2 + i]! | (((rest >> (3 * (i & 3))) & 7) << 8);
      fromTernaryGrid(row, scale * (2 * ((rest >> 12) & 7) + 1), (rest & 0x8000) !== 0, out, to + 8 * i);
    }
  },

  // 32 x 8 bits of a row | 32 x (3 upper bits, sign of delta) | 4 x (4 x 3 bits of scale, 4 of the
  // block's scale)
  IQ1_M(bytes, at, out, to) {
    const parts = [0, 1, 2, 3].map((i) => u16(bytes, at + 48 + 2 * i));
    const bits = parts.reduce((all, part, i) => all | ((part >> 12) << (4 * i)), 0);
    const scale = halfAt(Uint8Array.of(bits & 255, bits >> 8), 0);
    for (let i = 0; i < 32; i++) {
      const rest = nibble(bytes, at + 32, i);
      const own = scale * (2 * ((parts[i >> 3]! >> (3 * ((i >> 1) & 3))) & 7) + 1);
      fromTernaryGrid(bytes[at + i]! | ((rest & 7) << 8), own, (rest & 8) !== 0, out, to + 8 * i);
    }
  },

  // scale | 32 x 4 bits: the low halves are the first 16 numbers, the high ones the others
  IQ4_NL(bytes, at, out, to) {
    fromValues(NON_LINEAR, halfAt(bytes, at), bytes, at + 2, 16, out, to);
  },

  // scale | 8 x 2 upper bits of scale | 8 x 4 lower ones | 8 x 32 numbers as in IQ4_NL
  IQ4_XS(bytes, at, out, to) {
    const scale = halfAt(bytes, at);
    const high = u16(bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const own = (nibble(bytes, at + 4, group) | (((high >> (2 * group)) & 3) << 4)) - 32;
      fromValues(NON_LINEAR, scale * own, bytes, at + 8 + 16 * group, 16, out, to + 32 * group);
    }
  },

  // 240 numbers, five in a byte | 16 numbers, four in a byte | scale
  TQ1_0(bytes, at, out, to) {
    const scale = halfAt(bytes, at + 52);
    const trits = (from: number, count: number, each: number, first: number) => {
      for (let k = 0, power = 1; k < each; k++, power *= 3) {
        for (let i = 0; i < count; i++) {
          // A byte is a fraction of 256: its leading digit in base 3, after a shift by k digits.
          const digit = (((bytes[from + i]! * power) & 255) * 3) >> 8;
          out[first + k * count + i] = scale * (digit - 1);
        }
      }
    };
    trits(at, 32, 5, to);
    trits(at + 32, 16, 5, to + 160);
    trits(at + 48, 4, 4, to + 240);
  },

  // 256 x 2 bits: 32 bytes hold four times 32 numbers, the first 32 in their lowest bits | scale
  TQ2_0(bytes, at, out, to) {
    const scale = halfAt(bytes, at + 64);
    for (let i = 0; i < 256; i++) {
      const byte = bytes[at + 32 * (i >> 7) + (i & 31)]!;
      out[to + i] = scale * (((byte >> (2 * ((i >> 5) & 3))) & 3) - 1);
    }
  },

  // exponent of the scale | 32 x 4 bits as in IQ4_NL
  MXFP4(bytes, at, out, to) {
    // The values are doubled, so the scale is halved: 2^(e - 127) / 2.
    fromValues(E2M1, 2 ** (bytes[at]! - 128), bytes, at + 1, 16, out, to);
  },

  // 4 scales as 8-bit floats, E4M3 | 4 x 16 numbers, the low halves first
  NVFP4(bytes, at, out, to) {
    for (let group = 0; group < 4; group++) {
      fromValues(E2M1, e4m3(bytes[at + group]!) / 2, bytes, at + 4 + 8 * group, 8, out, to + 16 * group);
    }
  },
} as const satisfies Readonly<Record<string, Decoder>>;

function fromGrid(name: GridName, row: number, scale: number, signs: number, out: Float32Array, to: number): void {
  const grid = gridNumbers(name);
  const width = name === 'IQ3_XXS' || name === 'IQ3_S' ? 4 : 8;
  for (let j = 0; j < width; j++) {
    const value = scale * grid[row * width + j]!;
    out[to + j] = (signs >> j) & 1 ? -value : value;
  }
}

function fromTernaryGrid(row: number, scale: number, below: boolean, out: Float32Array, to: number): void {
  const grid = gridNumbers('IQ1_S');
  const delta = below ? -DELTA : DELTA;
  for (let j = 0; j < 8; j++) out[to + j] = scale * (grid[row * 8 + j]! + delta);
}

/** Decodes `count` bytes: their low halves are the first numbers, their high ones the others. */
function fromValues(
  values: readonly number[],
  scale: number,
  bytes: Uint8Array,
  from: number,
  count: number,
  out: Float32Array,
  to: number,
): void {
  for (let i = 0; i < count; i++) {
    const pair = bytes[from + i]!;
    out[to + i] = scale * values[pair & 15]!;
    out[to + count + i] = scale * values[pair >> 4]!;
  }
}

/** Returns eight signs of seven bits: the eighth makes the number of minus signs even. */
function signs(bits: number): number {
  const seven = bits & 127;
  let parity = seven ^ (seven >> 4);
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return seven | ((parity & 1) << 7);
}

/** Decodes an unsigned 8-bit float; 0x7f stands for NaN, and becomes 0 as in ggml. */
function e4m3(byte: number): number {
  if (byte === 0x7f) return 0;
  const [exponent, mantissa] = [(byte >> 3) & 15, byte & 7];
  return exponent === 0 ? mantissa * 2 ** -9 : (1 + mantissa / 8) * 2 ** (exponent - 7);
}

/** Returns the i-th half of the bytes at `at`, low halves first. */
function nibble(bytes: Uint8Array, at: number, i: number): number {
  return (bytes[at + (i >> 1)]! >> (4 * (i & 1))) & 15;
}

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) | (u16(bytes, at + 2) << 16)) >>> 0;
}
