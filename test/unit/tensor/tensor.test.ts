import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Parameter, randn, type Tensor, tensor, zeros } from '../../../lib/index.js';

/** 0, 1, 2, ... in a shape. */
function counting(...shape: number[]): Tensor {
  const count = shape.reduce((product, d) => product * d, 1);
  return tensor(
    Float32Array.from({ length: count }, (_, i) => i),
    shape,
  );
}

const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });

describe('a position', () => {
  it('has one index for each axis, negative ones from the end', () => {
    const t = counting(2, 3, 4);
    expect(t.at(1, 2, 3)).toBe(23);
    expect(t.at(0, -1, 1)).toBe(9);
    expect(t.at(-2, 0, 0)).toBe(0);
    expect(counting().at()).toBe(0);
  });

  it.each([[[0]], [[0, 0, 0, 0]], [[2, 0, 0]], [[0, -4, 0]], [[0, 0, 0.5]], [[0, 0, Number.NaN]]])(
    'is refused outside: %j',
    (indexes) => {
      expect(() => counting(2, 3, 4).at(...indexes)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
    },
  );
});

describe('slice', () => {
  it('copies ranges, and removes the axes of positions', () => {
    const t = counting(3, 4);
    expect(t.slice([1]).toArray()).toEqual([
      [4, 5, 6, 7],
      [8, 9, 10, 11],
    ]);
    expect(t.slice(null, [0, 2]).toArray()).toEqual([
      [0, 1],
      [4, 5],
      [8, 9],
    ]);
    expect(t.slice([-2, -1], [-1]).toArray()).toEqual([[7]]);
    expect(t.slice(null, 1).toArray()).toEqual([1, 5, 9]);
    expect(t.slice(-1, -1).toArray()).toBe(11);
    expect(t.slice([2, 2]).shape).toEqual([0, 4]);
    expect(t.row(1).toArray()).toEqual([4, 5, 6, 7]);
    expect(counting(2, 2, 2).row(1).toArray()).toEqual([
      [4, 5],
      [6, 7],
    ]);
    const copy = t.slice();
    copy.data[0] = 99;
    expect(t.at(0, 0)).toBe(0);
  });

  it('holds the numbers that are at the positions', () => {
    const cut = shapes.chain((shape) =>
      fc.record({
        shape: fc.constant(shape),
        limits: fc.tuple(...shape.map((d) => fc.tuple(fc.nat(d), fc.nat(d)).map((pair) => pair.sort((a, b) => a - b)))),
      }),
    );
    fc.assert(
      fc.property(cut, ({ shape, limits }) => {
        const t = counting(...shape);
        const part = t.slice(...(limits as [number, number][]));
        expect(part.shape).toEqual(limits.map(([start, end]) => end! - start!));
        const visit = (indexes: number[]): void => {
          if (indexes.length === shape.length) {
            expect(part.at(...indexes)).toBe(t.at(...indexes.map((index, axis) => index + limits[axis]![0]!)));
            return;
          }
          for (let i = 0; i < part.shape[indexes.length]!; i++) visit([...indexes, i]);
        };
        visit([]);
      }),
    );
  });

  it.each([[[[0, 5]]], [[[2, 1]]], [[null, null, null]], [[3]], [['1']], [[[0.5]]]])('refuses %j', (ranges) => {
    expect(() => counting(3, 4).slice(...(ranges as never[]))).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT' }),
    );
  });
});

describe('transpose', () => {
  it('swaps the last two axes, in a copy', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 2, maxLength: 4 }).map((shape) => counting(...shape)),
        (t) => {
          const turned = t.transpose();
          expect(turned.shape).toEqual(t.shape.with(-1, t.shape.at(-2)!).with(-2, t.shape.at(-1)!));
          expect(turned.transpose().toArray()).toEqual(t.toArray());
          const first = t.shape.map(() => 0);
          for (let i = 0; i < t.shape.at(-2)!; i++) {
            for (let j = 0; j < t.shape.at(-1)!; j++) {
              expect(turned.at(...first.with(-1, i).with(-2, j))).toBe(t.at(...first.with(-2, i).with(-1, j)));
            }
          }
          expect(turned.data.buffer).not.toBe(t.data.buffer);
        },
      ),
    );
    expect(() => counting(3).transpose()).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
  });
});

describe('reshape', () => {
  it('keeps the numbers, and finds one dimension', () => {
    const t = counting(4, 3, 2, 2);
    expect(t.reshape([4, -1]).shape).toEqual([4, 12]);
    expect(t.reshape([-1]).data).toBe(t.data);
    expect(zeros([0, 3]).reshape([-1, 3]).shape).toEqual([0, 3]);
    for (const shape of [[5, -1], [-1, -1], [4, 13], [-2], []]) {
      expect(() => t.reshape(shape)).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
    }
    expect(() => t.reshape(48 as never)).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  });
});

describe('toArray', () => {
  it('is what tensor() reads', () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const t = randn(shape);
        const again = tensor(t.toArray() as number[]);
        expect(again.shape).toEqual(shape);
        expect(again.data).toEqual(t.data);
      }),
    );
  });
});

describe('arithmetic', () => {
  it('takes numbers, tensors of the same shape, and of the end of it', () => {
    const t = counting(2, 3);
    expect(t.add(1).toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(t.sub(t).toArray()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
    expect(t.add(tensor([10, 20, 30])).toArray()).toEqual([
      [10, 21, 32],
      [13, 24, 35],
    ]);
    expect(t.mul(2).at(1, 2)).toBe(10);
    expect(t.toArray()).toEqual(counting(2, 3).toArray());
    expect(() => t.add(tensor([1, 2]))).toThrow('[2,3]');
    expect(() => t.add(counting(3, 2))).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }));
  });

  it('compares as NumPy does', () => {
    const t = tensor([1, 100, 0]);
    expect(t.allClose(tensor([1 + 1e-6, 100.0005, 0]))).toBe(true);
    expect(t.allClose(tensor([1, 100.1, 0]))).toBe(false);
    expect(t.allClose(tensor([1, 100.1, 0]), { rtol: 1e-2 })).toBe(true);
    expect(t.allClose(tensor([1, 100, 1e-3]), { atol: 1e-2 })).toBe(true);
    expect(tensor([Number.NaN]).allClose(tensor([Number.NaN]))).toBe(false);
    expect(tensor([Number.POSITIVE_INFINITY]).allClose(Number.POSITIVE_INFINITY)).toBe(true);
    expect(() => t.allClose(t, { tol: 1 } as never)).toThrow('tol');
  });
});

describe('a parameter', () => {
  it('is a tensor, too', () => {
    const p = new Parameter(counting(2, 2));
    expect(p.transpose().toArray()).toEqual([
      [0, 2],
      [1, 3],
    ]);
    expect(p.grad).toBeUndefined();
    p.grad = { data: new Float32Array(4), shape: [2, 2] };
    expect(p.grad?.toArray()).toEqual(zeros([2, 2]).toArray());
  });
});
