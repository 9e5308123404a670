import fc from 'fast-check';
import ndarray from 'ndarray';
import { describe, expect, it } from 'vitest';
import { diag, eye, laserSync, matmulSync, randn, svdSync, type Tensor, tensor, zeros } from '../../../lib/index.js';

describe('tensor()', () => {
  it('uses a Float32Array as it is, and converts other numbers', () => {
    const data = Float32Array.of(1, 2, 3, 4);
    expect(tensor(data, [2, 2]).data).toBe(data);
    expect(tensor(data).shape).toEqual([4]);
    const others = [[1, 2, 3, 4], Float64Array.of(1, 2, 3, 4), Int8Array.of(1, 2, 3, 4), Uint32Array.of(1, 2, 3, 4)];
    for (const numbers of others) {
      expect(tensor(numbers, [2, 2])).toMatchObject({ data, shape: [2, 2] });
      expect(tensor(numbers)).toMatchObject({ data, shape: [4] });
    }
    expect(tensor([0.1, 1e-50, Number.NaN], [3]).data).toEqual(Float32Array.of(0.1, 0, Number.NaN));
  });

  it('takes the shape of nested arrays', () => {
    expect(tensor([[1, 2, 3], new Float64Array([4, 5, 6])])).toMatchObject({
      data: Float32Array.of(1, 2, 3, 4, 5, 6),
      shape: [2, 3],
    });
    expect(tensor([[[1], [2]]]).shape).toEqual([1, 2, 1]);
    expect(tensor([]).shape).toEqual([0]);
    expect(tensor([[], []]).shape).toEqual([2, 0]);
  });

  it('converts tensors of other libraries', () => {
    const numbers = Float64Array.of(1, 2, 3, 4, 5, 6);
    const view = ndarray(numbers, [2, 3]).transpose(1, 0);
    expect(tensor(view as never).toArray()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
    // onnxruntime's float16: the bits of 1, -2 and 65504.
    const half = { type: 'float16', data: Uint16Array.of(0x3c00, 0xc000, 0x7bff), dims: [3] };
    expect(tensor(half).toArray()).toEqual([1, -2, 65504]);
    expect(tensor({ type: 'uint16', data: Uint16Array.of(0x3c00), dims: [1] }).toArray()).toEqual([0x3c00]);
    expect(tensor({ type: 'float64', data: numbers, dims: [6] }).shape).toEqual([6]);
    // A library whose fields are getters over private ones.
    class Foreign {
      readonly #numbers = [1, 2];
      get data() {
        return this.#numbers;
      }
      get dims() {
        return [this.#numbers.length];
      }
    }
    expect(tensor(new Foreign()).toArray()).toEqual([1, 2]);
  });

  it('refuses anything else, and names it', () => {
    const wrong: (readonly [unknown, string])[] = [
      [[1, '2'], 'tensor[1]'],
      [[[1, 2], [3]], 'tensor[1]'],
      [[[1, 2], 3], 'tensor[1]'],
      [[1, [2]], 'tensor[1]'],
      [[1n], 'tensor[0]'],
      [BigInt64Array.of(1n), 'data'],
      [[1e39], 'tensor[0]'],
      [{ data: Float64Array.of(1e300), shape: [1] }, 'data[0]'],
      [{ data: new Uint8Array(2), dims: [4], type: 'int4' }, 'type'],
      [{ data: [1, 2], shape: [3] }, 'shape'],
      [{ data: ['a'], shape: [1] }, 'data[0]'],
      [new DataView(new ArrayBuffer(4)), 'data'],
      ['1 2', 'tensor'],
      [null, 'tensor'],
      [undefined, 'tensor'],
    ];
    for (const [values, name] of wrong) {
      const refused = () => tensor(values as never);
      expect(refused).toThrow(expect.objectContaining({ code: expect.stringMatching(/^ERR_(ARGUMENT|SHAPE)$/) }));
      expect(refused).toThrow(name);
    }
  });

  it('is named where float32 numbers are expected', () => {
    const given = { data: Float64Array.of(1), shape: [1, 1] } as never;
    expect(() => svdSync(given)).toThrow(expect.objectContaining({ hint: expect.stringContaining('tensor(') }));
  });
});

describe('zeros, eye, diag and randn', () => {
  it('make what their names say', () => {
    expect(zeros([2, 1]).toArray()).toEqual([[0], [0]]);
    expect(eye(2).toArray()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    expect(eye(2, 3).toArray()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ]);
    expect(diag(tensor([1, 2])).toArray()).toEqual([
      [1, 0],
      [0, 2],
    ]);
    expect(
      diag(
        tensor([
          [1, 2, 3],
          [4, 5, 6],
        ]),
      ).toArray(),
    ).toEqual([1, 5]);
    expect(() => diag(zeros([1, 1, 1]))).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
    expect(() => zeros([-1])).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
    expect(() => zeros([1e15])).toThrow(expect.objectContaining({ code: 'ERR_MEMORY' }));
  });

  it('draw the same numbers for the same seed, of mean 0 and variance 1', () => {
    expect(randn([3, 4], { seed: 5 }).data).toEqual(randn([3, 4], { seed: 5 }).data);
    expect(randn([3, 4], { seed: 6 }).data).not.toEqual(randn([3, 4], { seed: 5 }).data);
    const { data } = randn([200, 200]);
    const mean = data.reduce((sum, x) => sum + x, 0) / data.length;
    const variance = data.reduce((sum, x) => sum + x * x, 0) / data.length;
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(variance - 1)).toBeLessThan(0.05);
    expect(() => randn([2], { seed: -1 })).toThrow('seed');
  });

  it('multiply back what svd() took apart', () => {
    const w = randn([5, 3]);
    const { u, s, vt } = svdSync(w);
    expect(matmulSync(matmulSync(u, diag(s)), vt).allClose(w, { atol: 1e-5 })).toBe(true);
  });
});

describe('matmul with a vector', () => {
  it('is the product of each row with it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }), (m, n) => {
        const [w, x] = [randn([m, n], { seed: 1 }), randn([n], { seed: 2 })];
        const y = matmulSync(w, x);
        expect(y.shape).toEqual([m]);
        const expected = Array.from({ length: m }, (_, i) =>
          w
            .row(i)
            .mul(x)
            .data.reduce((sum, value) => sum + value, 0),
        );
        expect(y.allClose(tensor(expected), { atol: 1e-5 })).toBe(true);
      }),
    );
    expect(() => matmulSync(zeros([2, 3]), zeros([2]))).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
    expect(() => matmulSync(zeros([1, 2, 3]), zeros([3]))).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
  });
});

describe('a convolution', () => {
  it('is approximated as the matrix into which it is reshaped', () => {
    const w: Tensor = randn([8, 3, 3, 3]);
    expect(() => laserSync(w, { rank: 2 })).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
    const smooth = laserSync(w.reshape([8, -1]), { rank: 2 }).reshape(w.shape);
    expect(smooth.shape).toEqual(w.shape);
    expect(svdSync(smooth.reshape([8, -1])).s.at(2)).toBeLessThan(1e-5);
  });
});
