import { describe, expect, it } from 'vitest';
import type { TensorInfo } from '../../../lib/checkpoint/checkpoint.js';
import { editTensor } from '../../../lib/edit/apply-to-tensor.js';
import { planEdits } from '../../../lib/edit/plan.js';
import { decomposeAnew } from '../../../lib/interventions/apply.js';
import type { Edit } from '../../../lib/interventions/edit.js';
import { parseTensorSpec } from '../../../lib/interventions/spec.js';
import { gridOf } from '../../../lib/tensor/block-slice.js';
import { fromFloat32, toFloat32 } from '../../../lib/tensor/convert.js';
import type { StoredType, WritableType } from '../../../lib/tensor/dtype.js';
import type { Slice } from '../../../lib/tensor/slice.js';
import { elements } from '../../../lib/tensor/tensor.js';
import { fakeCheckpoint } from '../../support/fake-checkpoint.js';
import { jacobiSvd, truncate } from '../../support/jacobi.js';
import { distance, gaussian, norm } from '../../support/matrices.js';

const M = 48;
const N = 64;

function info(type: StoredType, shape: readonly number[] = [M, N]): TensorInfo {
  const bytes = fromFloat32(new Float32Array(elements(shape)), type).length;
  return { name: 'w', dtype: type, shape, bytes, file: 'f', offset: 0 };
}

function edit(dtype: 'Q8_0' | 'F32', writtenAs: WritableType, spec: string, slice?: Slice, shape = [M, N]): Edit {
  const intervention = parseTensorSpec(spec);
  const rho = 'rankFraction' in intervention.amount ? intervention.amount.rankFraction : 1;
  const full = Math.min(...shape.slice(-2));
  const rank = Math.floor(rho * full);
  return {
    tensor: 'w',
    slice,
    layer: undefined,
    type: undefined,
    shape,
    dtype,
    writtenAs,
    intervention,
    rank,
    threshold: undefined,
    identity: rank === full,
  };
}

async function edited(source: TensorInfo, bytes: Uint8Array, edits: readonly Edit[]) {
  const context = {
    work: new Float32Array(Math.max(...edits.map(({ shape }) => elements(shape)))),
    decomposer: () => decomposeAnew({}),
    started: () => undefined,
    finished: () => undefined,
  };
  return editTensor(source, bytes.slice(), edits, context);
}

const weights = gaussian([M, N], 5).data;

describe('a quantised tensor', () => {
  const stored = fromFloat32(weights, 'Q8_0');
  const before = toFloat32(stored, 'Q8_0');
  const best = truncate(jacobiSvd(before, M, N), M, N, 12);

  it.each(['Q8_0', 'F16', 'BF16', 'F32'] as const)('becomes %s, and its error is measured after that', async (as) => {
    const result = await edited(info('Q8_0'), stored, [edit('Q8_0', as, 'w:0.25')]);
    expect(result.bytes).toHaveLength(fromFloat32(weights, as).length);
    const after = toFloat32(result.bytes, as);
    const rounding = { Q8_0: 1 / 127, F16: 2 ** -11, BF16: 2 ** -8, F32: 1e-6 }[as];
    expect(distance(after, best) / norm(best)).toBeLessThan(rounding);
    const [matrix] = result.edited;
    expect(matrix).toMatchObject({ dtype: 'Q8_0', writtenAs: as, rank: 12 });
    expect(matrix!.relativeError).toBeCloseTo(distance(after, before) / norm(before), 6);
  });

  const rows: Slice = { axis: 'rows', ranges: [[8, 24]] };
  const whole: Slice = { axis: 'columns', ranges: [[32, 64]] };
  const torn: Slice = { axis: 'columns', ranges: [[16, 48]] };
  const insideOf = ({ axis, ranges }: Slice, i: number) => {
    const place = axis === 'rows' ? Math.floor(i / N) : i % N;
    return ranges.some(([start, end]) => place >= start && place < end);
  };

  it.each([
    ['rows', rows, [16, N]],
    ['columns that are whole blocks', whole, [M, 32]],
    ['columns that cut through blocks', torn, [M, 32]],
  ] as const)('is edited in some %s', async (_, slice, shape) => {
    const own = before.filter((_, i) => insideOf(slice, i));
    const [m, n] = shape;
    const expected = truncate(jacobiSvd(own, m, n), m, n, 8);
    for (const as of ['Q8_0', 'F32'] as const) {
      const result = await edited(info('Q8_0'), stored, [edit('Q8_0', as, 'w:0.5', slice, [...shape])]);
      const after = toFloat32(result.bytes, as);
      const rank = Math.floor(0.5 * Math.min(m, n));
      const target = rank === 8 ? expected : truncate(jacobiSvd(own, m, n), m, n, rank);
      const inside = after.filter((_, i) => insideOf(slice, i));
      expect(distance(inside, target) / norm(target)).toBeLessThan(as === 'F32' ? 1e-5 : 0.015);
      expect(result.edited[0]!.relativeError).toBeCloseTo(distance(inside, own) / norm(own), 6);
      // Outside, F32 holds every number of Q8_0, and untouched blocks stay as they are; torn ones
      // are rounded again.
      const outside = after.filter((_, i) => !insideOf(slice, i));
      const others = before.filter((_, i) => !insideOf(slice, i));
      if (as === 'F32' || slice !== torn) expect(outside).toEqual(others);
      else expect(distance(outside, others) / norm(others)).toBeLessThan(0.015);
    }
  });

  it('can be sliced only at the edges of blocks', () => {
    expect(gridOf([M, N], 'Q8_0', rows)).toEqual({ shape: [M, 2], slice: rows, itemBytes: 34 });
    expect(gridOf([M, N], 'Q8_0', whole)?.slice).toEqual({ axis: 'columns', ranges: [[1, 2]] });
    expect(gridOf([M, N], 'Q8_0', torn)).toBeUndefined();
    expect(gridOf([M, N], 'F32', torn)).toEqual({ shape: [M, N], slice: torn, itemBytes: 4 });
  });

  it('is not edited unless its new type is given', () => {
    const checkpoint = fakeCheckpoint({ w: [M, N] }, undefined, { w: 'U8' });
    const info = { ...checkpoint.tensors.get('w')!, dtype: 'Q4_K' as const };
    const quantised = { ...checkpoint, tensors: new Map([['w', info]]) };
    const plan = (spec: string, quant?: WritableType) =>
      planEdits(quantised, { interventions: [parseTensorSpec(spec)], quant });
    expect(() => plan('w:0.5')).toThrow(
      expect.objectContaining({ code: 'ERR_UNSUPPORTED', hint: expect.stringContaining('Q8_0, F16, BF16 or F32') }),
    );
    expect(() => plan('w:0.5')).toThrow('w: is stored as Q4_K');
    expect(plan('w:0.5', 'F16').edits[0]).toMatchObject({ dtype: 'Q4_K', writtenAs: 'F16' });
    expect(plan('w:1', 'F16').edits[0]).toMatchObject({ dtype: 'Q4_K', writtenAs: 'Q4_K', identity: true });
    // Nothing is written of what keeps all.
    expect(plan('w:1').edits[0]).toMatchObject({ identity: true });
    expect(() => plan('w:0.5', 'Q4_K' as WritableType)).toThrow('quant: expected Q8_0');
    // Floats stay what they are.
    const floats = fakeCheckpoint({ w: [M, N] }, undefined, { w: 'BF16' });
    const [kept] = planEdits(floats, { interventions: [parseTensorSpec('w:0.5')], quant: 'Q8_0' }).edits;
    expect(kept!.writtenAs).toBe('BF16');
  });
});

describe('faults', () => {
  it('name the tensor', async () => {
    const large = fromFloat32(
      weights.map((x, i) => (i === 70 ? Number.POSITIVE_INFINITY : x)),
      'F32',
    );
    await expect(edited(info('F32'), large, [edit('F32', 'F32', 'w:0.5')])).rejects.toMatchObject({
      code: 'ERR_NOT_FINITE',
      message: 'w: the matrix holds an infinity at row 1, column 6',
      hint: expect.stringContaining('damaged'),
    });
  });
});
