import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  describeSlice,
  extract,
  overlap,
  type Range,
  type Slice,
  scatter,
  sliceShape,
} from '../../../lib/tensor/slice.js';

/** 0, 1, 2, ... of two bytes each, so that a mix-up of elements and of bytes shows. */
function counting(shape: readonly number[]): Uint8Array {
  const count = shape.reduce((product, d) => product * d, 1);
  return new Uint8Array(Uint16Array.from({ length: count }, (_, i) => i).buffer);
}
const values = (bytes: Uint8Array) => [...new Uint16Array(bytes.slice().buffer)];

describe('extract', () => {
  it('takes columns', () => {
    const slice: Slice = { axis: 'columns', ranges: [[2, 4]] };
    expect(values(extract(counting([3, 6]), { shape: [3, 6], slice, itemBytes: 2 }))).toEqual([2, 3, 8, 9, 14, 15]);
    expect(sliceShape([3, 6], slice)).toEqual([3, 2]);
  });

  it('takes rows', () => {
    const slice: Slice = { axis: 'rows', ranges: [[1, 3]] };
    expect(values(extract(counting([3, 2]), { shape: [3, 2], slice, itemBytes: 2 }))).toEqual([2, 3, 4, 5]);
    expect(sliceShape([3, 2], slice)).toEqual([2, 2]);
  });

  it('joins the rows of one matrix that lie interleaved by head', () => {
    // Two heads of width 1: q0 k0 v0 q1 k1 v1, one row each.
    const key: Slice = {
      axis: 'rows',
      ranges: [
        [1, 2],
        [4, 5],
      ],
    };
    expect(values(extract(counting([6, 2]), { shape: [6, 2], slice: key, itemBytes: 2 }))).toEqual([2, 3, 8, 9]);
    expect(sliceShape([6, 2], key)).toEqual([2, 2]);
  });

  it('takes the same of every matrix of a batch', () => {
    const slice: Slice = { axis: 'rows', ranges: [[0, 1]] };
    expect(values(extract(counting([2, 2, 2]), { shape: [2, 2, 2], slice, itemBytes: 2 }))).toEqual([0, 1, 4, 5]);
    expect(sliceShape([2, 2, 2], slice)).toEqual([2, 1, 2]);
  });

  it('is the tensor itself without a slice', () => {
    const bytes = counting([2, 2]);
    expect(extract(bytes, { shape: [2, 2], slice: undefined, itemBytes: 2 })).toBe(bytes);
  });

  it('refuses ranges outside of the matrix', () => {
    for (const range of [
      [0, 4],
      [-1, 1],
      [1, 1],
      [2, 1],
    ] as Range[]) {
      expect(() =>
        extract(counting([3, 2]), { shape: [3, 2], slice: { axis: 'rows', ranges: [range] }, itemBytes: 2 }),
      ).toThrow('3 rows');
    }
  });
});

const dimension = fc.integer({ min: 1, max: 9 });
const slices = fc
  .record({
    batch: fc.option(dimension, { nil: undefined }),
    m: dimension,
    n: dimension,
    axis: fc.constantFrom('rows' as const, 'columns' as const),
    cuts: fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { minLength: 2, maxLength: 6 }),
    itemBytes: fc.constantFrom(2, 4, 8),
  })
  .map(({ batch, m, n, axis, cuts, itemBytes }) => {
    const limit = axis === 'rows' ? m : n;
    const ends = [...new Set(cuts.map((cut) => cut % (limit + 1)))].sort((a, b) => a - b);
    const ranges: Range[] = [];
    for (let i = 0; i + 1 < ends.length; i += 2) ranges.push([ends[i]!, ends[i + 1]!]);
    const shape = batch === undefined ? [m, n] : [batch, m, n];
    return { shape, slice: { axis, ranges: ranges.length > 0 ? ranges : ([[0, limit]] as Range[]) }, itemBytes };
  });

describe('scatter', () => {
  it('is the reverse of extract, and touches nothing else', () => {
    fc.assert(
      fc.property(slices, ({ shape, slice, itemBytes }) => {
        const size = shape.reduce((product, d) => product * d, itemBytes);
        const bytes = Uint8Array.from({ length: size }, (_, i) => 1 + ((i * 31) % 255));
        const part = extract(bytes, { shape, slice, itemBytes });
        expect(part.length).toBe(sliceShape(shape, slice).reduce((product, d) => product * d, itemBytes));

        const hollow = bytes.slice();
        scatter(new Uint8Array(part.length), hollow, { shape, slice, itemBytes });
        expect(hollow.filter((byte) => byte === 0).length).toBe(part.length);
        expect(hollow.every((byte, i) => byte === 0 || byte === bytes[i])).toBe(true);

        scatter(part, hollow, { shape, slice, itemBytes });
        expect(hollow).toEqual(bytes);
      }),
    );
  });
});

describe('overlap', () => {
  const q: Slice = {
    axis: 'rows',
    ranges: [
      [0, 2],
      [6, 8],
    ],
  };
  const k: Slice = {
    axis: 'rows',
    ranges: [
      [2, 4],
      [8, 10],
    ],
  };
  it('distinguishes slices', () => {
    expect(overlap(q, k)).toBe(false);
    expect(overlap(q, { axis: 'rows', ranges: [[7, 9]] })).toBe(true);
    expect(overlap(q, q)).toBe(true);
  });
  it('takes rows to meet all columns, and the whole to meet every part', () => {
    expect(overlap(q, { axis: 'columns', ranges: [[0, 1]] })).toBe(true);
    expect(overlap(q, undefined)).toBe(true);
    expect(overlap(undefined, undefined)).toBe(true);
  });
});

describe('describeSlice', () => {
  it('is short', () => {
    expect(describeSlice({ axis: 'columns', ranges: [[0, 64]] })).toBe('columns 0-63');
    expect(
      describeSlice({
        axis: 'rows',
        ranges: [
          [0, 2],
          [6, 8],
          [12, 14],
        ],
      }),
    ).toBe('rows 0-1, 6-7, ...');
  });
});
