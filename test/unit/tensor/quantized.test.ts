import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromFloat32, toFloat32 } from '../../../lib/tensor/convert.js';
import {
  blockOf,
  DTYPE_BITS,
  type DType,
  isReadableType,
  isWritableType,
  QUANTIZED_BLOCKS,
  type QuantizedType,
} from '../../../lib/tensor/dtype.js';
import { halfToNumber, positiveToHalf } from '../../../lib/tensor/half.js';
import { dequantize, quantizeQ8 } from '../../../lib/tensor/quantized.js';

interface Vectors {
  readonly decoded: Readonly<Record<QuantizedType, { blocks: string; first: number[]; sha256: string }>>;
  readonly encoded: { numbers: string; blocks: string };
}

/** Made by make_quantized.py with ggml's Python package. */
const vectors = JSON.parse(readFileSync(new URL('quantized.json', import.meta.url), 'utf8')) as Vectors;
const types = Object.keys(QUANTIZED_BLOCKS) as QuantizedType[];
const hex = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'));
const sha256 = (data: Float32Array) => createHash('sha256').update(new Uint8Array(data.buffer)).digest('hex');

describe('quantised blocks', () => {
  it.each(types)('%s gives the numbers of the reference, bit for bit', (type) => {
    const { blocks, first, sha256: hash } = vectors.decoded[type];
    const numbers = toFloat32(hex(blocks), type);
    expect(numbers.length).toBe(2 * QUANTIZED_BLOCKS[type].numbers);
    expect([...numbers.subarray(0, 8)]).toEqual(first);
    expect(sha256(numbers)).toBe(hash);
  });

  it('are made as Q8_0 like the reference, bit for bit', () => {
    const numbers = new Float32Array(hex(vectors.encoded.numbers).buffer);
    expect(Buffer.from(fromFloat32(numbers, 'Q8_0')).toString('hex')).toBe(vectors.encoded.blocks);
  });

  it('of Q8_0 come back within half a step and the error of the scale', () => {
    const block = fc.array(fc.float({ min: -1000, max: 1000, noNaN: true }), { minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(block, (values) => {
        const data = Float32Array.from(values);
        const largest = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        const back = dequantize(quantizeQ8(data), 'Q8_0');
        // 11 bits of scale; below the smallest normal half its steps are 2^-24, which 127
        // multiplies.
        const bound = largest / 127 / 2 + largest * 2 ** -11 + 127 * 2 ** -25 + 1e-12;
        for (const [i, x] of data.entries()) expect(Math.abs(back[i]! - x)).toBeLessThanOrEqual(bound);
      }),
    );
  });

  it('stay as they are when Q8_0 is decoded and made again', () => {
    const numbers = new Float32Array(hex(vectors.encoded.numbers).buffer);
    const once = dequantize(quantizeQ8(numbers), 'Q8_0');
    // Where the scale is zero a number can be a negative zero.
    expect(dequantize(quantizeQ8(once), 'Q8_0').map((x) => x + 0)).toEqual(once.map((x) => x + 0));
  });

  it('must be whole', () => {
    for (const type of types) {
      const { bytes } = QUANTIZED_BLOCKS[type];
      expect(dequantize(new Uint8Array(0), type).length).toBe(0);
      expect(() => dequantize(new Uint8Array(bytes + 1), type)).toThrow(
        expect.objectContaining({ code: 'ERR_SHAPE', message: expect.stringContaining(type) }),
      );
    }
    expect(() => quantizeQ8(new Float32Array(33))).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
  });

  it('refuse numbers whose scale overflows', () => {
    const block = (value: number) => new Float32Array(32).fill(1).fill(value, 7, 8);
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 127 * 65520, -3e38]) {
      expect(() => quantizeQ8(block(value)), String(value)).toThrow(
        expect.objectContaining({ code: 'ERR_UNSUPPORTED' }),
      );
    }
    expect(dequantize(quantizeQ8(block(127 * 65504)), 'Q8_0')[7]).toBe(127 * 65504);
    // Far below the smallest scale all is zero, also where the reciprocal of the scale overflows.
    for (const value of [1e-12, 1e-38, 1e-45]) {
      expect(dequantize(quantizeQ8(new Float32Array(32).fill(value)), 'Q8_0')).toEqual(new Float32Array(32));
    }
  });
});

describe('half floats one by one', () => {
  it('agree with the native conversion, all of them', () => {
    const bits = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
    const native = toFloat32(new Uint8Array(bits.buffer), 'F16');
    for (let i = 0; i < 0x10000; i++) {
      if (!Object.is(halfToNumber(i), native[i])) throw new Error(`${i}: ${halfToNumber(i)} is not ${native[i]}`);
    }
  });

  it('round like the native conversion', () => {
    const halves = Array.from({ length: 0x7c00 }, (_, bits) => halfToNumber(bits));
    const between = halves.flatMap((x, i) => {
      const next = halves[i + 1] ?? 65536;
      const middle = (x + next) / 2;
      return [x, middle, Math.fround(middle * (1 + 2 ** -23)), Math.fround(middle * (1 - 2 ** -23))];
    });
    const data = Float32Array.from(between);
    const native = new Uint16Array(fromFloat32(data, 'F16').buffer);
    for (const [i, x] of data.entries()) {
      if (positiveToHalf(x) !== native[i]) throw new Error(`${x}: ${positiveToHalf(x)} is not ${native[i]}`);
    }
  });
});

describe('types', () => {
  it('are readable, writable or neither', () => {
    expect(Object.keys(QUANTIZED_BLOCKS).every(isReadableType)).toBe(true);
    expect(Object.keys(QUANTIZED_BLOCKS).filter(isWritableType)).toEqual(['Q8_0']);
    expect(['Q8_1', 'Q8_K', 'Q1_0'].some((type) => isReadableType(type) || isWritableType(type))).toBe(false);
    expect(['F64', 'F32', 'F16', 'BF16'].every((type) => isReadableType(type) && isWritableType(type))).toBe(true);
    for (const type of ['I8', 'toString', '__proto__', ''])
      expect(isReadableType(type) || isWritableType(type)).toBe(false);
  });

  it('that are not are refused by name', () => {
    const refused = (type: string) =>
      expect.objectContaining({ code: 'ERR_UNSUPPORTED', message: expect.stringContaining(type) });
    expect(() => toFloat32(new Uint8Array(292), 'Q8_K')).toThrow(refused('Q8_K'));
    expect(() => toFloat32(new Uint8Array(4), 'I32')).toThrow(refused('I32'));
    expect(() => fromFloat32(new Float32Array(256), 'Q4_K')).toThrow(refused('Q4_K'));
  });

  it('have blocks of whole bytes', () => {
    for (const [type, bits] of Object.entries(DTYPE_BITS)) {
      const { numbers, bytes } = blockOf(type as DType);
      expect(bytes * 8).toBe(numbers * bits);
    }
    expect(blockOf('F4')).toEqual({ numbers: 2, bytes: 1 });
    expect(blockOf('Q6_K')).toEqual({ numbers: 256, bytes: 210 });
    expect(blockOf('MXFP4')).toEqual({ numbers: 32, bytes: 17 });
  });
});
