import { describe, expect, it } from 'vitest';
import { readInto, rewrite } from '../../../lib/interventions/rewrite.js';
import { fromFloat32, toFloat32 } from '../../../lib/tensor/convert.js';

const bytes = (...values: number[]) => fromFloat32(Float32Array.from(values), 'F32');
const float32 = (...values: number[]) => Float32Array.from(values);

describe('rewrite', () => {
  it('writes, and measures relative error and energy', async () => {
    const matrix = bytes(3, 4);
    expect(await rewrite(matrix, float32(3, 0), 'F32')).toEqual({ relativeError: 0.8, keptEnergy: 9 / 25 });
    expect([...toFloat32(matrix, 'F32')]).toEqual([3, 0]);
    expect(await rewrite(bytes(3, 4), float32(3, 4), 'F32')).toEqual({ relativeError: 0, keptEnergy: 1 });
    expect(await rewrite(bytes(0, 0), float32(0, 0), 'F32')).toEqual({ relativeError: 0, keptEnergy: 1 });
    expect(await rewrite(bytes(3, 4), float32(0, 0), 'F32')).toEqual({ relativeError: 1, keptEnergy: 0 });
  });

  it('measures the effect of rounding to 16 bits', async () => {
    // 1 + 2^-12 is no float16: it is written as 1.
    const matrix = fromFloat32(float32(1 + 2 ** -10), 'F16');
    const { relativeError } = await rewrite(matrix, float32(1 + 2 ** -12), 'F16');
    expect(relativeError).toBeCloseTo(2 ** -10 / (1 + 2 ** -10), 12);
    expect([...toFloat32(matrix, 'F16')]).toEqual([1]);
  });

  it('sees differences in float64 that float32 would not', async () => {
    const matrix = new Uint8Array(Float64Array.of(1 + 2 ** -40).buffer);
    expect((await rewrite(matrix, float32(1), 'F64')).relativeError).toBeCloseTo(2 ** -40, 20);
  });

  it('goes through all of a long matrix, at any alignment', async () => {
    const count = 200_001;
    const shifted = new Uint8Array(4 * count + 1).subarray(1);
    shifted.set(fromFloat32(new Float32Array(count).fill(2), 'F32'));
    const half = { relativeError: 0.5, keptEnergy: 0.25 };
    expect(await rewrite(shifted, new Float32Array(count).fill(1), 'F32')).toEqual(half);
    expect(toFloat32(shifted, 'F32').every((x) => x === 1)).toBe(true);
  });

  it('leaves the bits of numbers that stay, when only zeros are written', async () => {
    const numbers = Float64Array.of(1 / 3, 2 / 3, 1 / 7);
    const matrix = new Uint8Array(numbers.slice().buffer);
    await rewrite(matrix, float32(1 / 3, 0, 1 / 7), 'F64', { onlyZeros: true });
    expect([...new Float64Array(matrix.buffer)]).toEqual([1 / 3, 0, 1 / 7]);
  });

  it('does not hide an overflow', async () => {
    const { relativeError } = await rewrite(bytes(1, 1), float32(1, Number.POSITIVE_INFINITY), 'F32');
    expect(relativeError).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('readInto', () => {
  it('reads all of a long matrix', async () => {
    const values = Float32Array.from({ length: 150_000 }, (_, i) => i % 2048);
    const target = new Float32Array(values.length);
    await readInto(target, fromFloat32(values, 'F16'), 'F16');
    expect(target).toEqual(values);
  });
});
