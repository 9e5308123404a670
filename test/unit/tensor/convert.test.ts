import { describe, expect, it } from 'vitest';
import { fromFloat32, toFloat32 } from '../../../lib/tensor/convert.js';

const bits = new DataView(new ArrayBuffer(8));

function half(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

function brain(b: number): number {
  bits.setUint32(0, b * 65536);
  return bits.getFloat32(0);
}

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const wordsOf = (bytes: Uint8Array) => new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);

describe.each([
  ['F16', half],
  ['BF16', brain],
] as const)('%s', (dtype, value) => {
  it('every one of the 65,536 patterns reads as its value and comes back as itself', () => {
    const floats = toFloat32(bytesOf(all), dtype);
    all.forEach((pattern) => {
      const expected = value(pattern);
      if (!Object.is(floats[pattern], expected))
        throw new Error(`${pattern.toString(16)}: ${floats[pattern]} for ${expected}`);
    });
    const back = wordsOf(fromFloat32(floats, dtype));
    all.forEach((pattern) => {
      const ok = Number.isNaN(value(pattern)) ? Number.isNaN(value(back[pattern]!)) : back[pattern] === pattern;
      if (!ok) throw new Error(`${pattern.toString(16)} came back as ${back[pattern]!.toString(16)}`);
    });
  });

  it('between two neighbours rounds to the nearer, and a tie to the even pattern', () => {
    const largest = dtype === 'F16' ? 0x7bff : 0x7f7f;
    const below = Float32Array.from({ length: largest }, (_, i) => value(i));
    const above = Float32Array.from({ length: largest }, (_, i) => value(i + 1));
    // The middle has one bit more than either: float32 holds it exactly, except among bfloat16's
    // own subnormals' ends.
    const middle = Float32Array.from(below, (low, i) => (low + above[i]!) / 2);
    const next = (x: number, step: number) => {
      bits.setFloat32(0, x);
      bits.setInt32(0, bits.getInt32(0) + step);
      return bits.getFloat32(0);
    };
    const ties = wordsOf(fromFloat32(middle, dtype));
    const under = wordsOf(
      fromFloat32(
        middle.map((x) => next(x, -1)),
        dtype,
      ),
    );
    const over = wordsOf(
      fromFloat32(
        middle.map((x) => next(x, 1)),
        dtype,
      ),
    );
    for (let i = 0; i < largest; i++) {
      const got = [under[i], ties[i], over[i]];
      const expected = [i, i % 2 === 0 ? i : i + 1, i + 1];
      if (got.some((pattern, j) => pattern !== expected[j])) throw new Error(`${i}: ${got} for ${expected}`);
    }
  });

  it('beyond the largest rounds to infinity only from the middle on', () => {
    const [limit, next] = dtype === 'F16' ? [65504, 65536] : [value(0x7f7f), 2 ** 128];
    const middle = (limit + next) / 2;
    const floats = Float32Array.of(limit * (1 + 2 ** -20), middle, -middle);
    const expected = dtype === 'F16' ? [0x7bff, 0x7c00, 0xfc00] : [0x7f7f, 0x7f80, 0xff80];
    expect([...wordsOf(fromFloat32(floats, dtype))]).toEqual(expected);
  });
});

describe('the wide formats', () => {
  it('F32 is the bytes themselves, F64 is rounded to float32 and widened back', () => {
    const floats = Float32Array.of(1.5, -0, 1e-45, Number.NaN, 3.4e38);
    expect(toFloat32(bytesOf(floats), 'F32')).toEqual(floats);
    expect(fromFloat32(floats, 'F32')).toEqual(bytesOf(floats).slice());
    const doubles = Float64Array.of(0.1, 1e-300, -1e300, 2 ** -149);
    expect(toFloat32(bytesOf(doubles), 'F64')).toEqual(Float32Array.from(doubles));
    expect(new Float64Array(fromFloat32(Float32Array.of(0.1), 'F64').buffer)).toEqual(
      Float64Array.of(Math.fround(0.1)),
    );
  });

  it('bytes may lie at any address', () => {
    const unaligned = new Uint8Array(9);
    unaligned.set(bytesOf(Float32Array.of(7, -8)), 1);
    expect(toFloat32(unaligned.subarray(1), 'F32')).toEqual(Float32Array.of(7, -8));
    expect(toFloat32(new Uint8Array(0), 'BF16')).toEqual(new Float32Array(0));
    expect(() => toFloat32(new Uint8Array(5), 'F16')).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
  });
});
