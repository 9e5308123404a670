import { describe, expect, it } from 'vitest';
import { type ApproximateJob, CERTIFICATE_FIELDS } from '../../../lib/addon/contract.js';
import { addon } from '../../../lib/addon/load.js';
import { laser } from '../../../lib/lowrank/laser.js';
import { gaussian } from '../../support/matrices.js';

/** A job that is right, to be spoilt one field at a time. */
const job = (): ApproximateJob => ({
  batch: 1,
  m: 4,
  n: 3,
  rank: 2,
  method: 1,
  w: new Float32Array(12).fill(1),
  dense: new Float32Array(12),
  out: new Float64Array(CERTIFICATE_FIELDS.length),
});

/** Each would read or write memory that is not its own. */
const SPOILT: [string, Record<string, unknown>][] = [
  ['a Float64Array for w', { w: new Float64Array(12) }],
  ['bytes for w', { w: new Uint8Array(48) }],
  ['a plain array for w', { w: Array.from({ length: 12 }, () => 1) }],
  ['a DataView for w', { w: new DataView(new ArrayBuffer(48)) }],
  ['no w', { w: undefined }],
  ['a short w', { w: new Float32Array(11) }],
  ['a long w', { w: new Float32Array(13) }],
  ['a short output', { dense: new Float32Array(11) }],
  ['a short certificate', { out: new Float64Array(CERTIFICATE_FIELDS.length - 1) }],
  ['integers for the certificate', { out: new BigInt64Array(CERTIFICATE_FIELDS.length) }],
  ['a short control', { control: new Int32Array(1) }],
  ['a negative size', { m: -4 }],
  ['a fractional size', { m: 4.5 }],
  ['NaN for a size', { n: Number.NaN }],
  ['a size as text', { m: '4' }],
  ['sizes whose product overflows', { m: 2 ** 40, n: 2 ** 40 }],
  ['a rank above the matrix', { rank: 4 }],
  [
    'factors without room for the rank',
    { capacity: 1, b: new Float32Array(4), a: new Float32Array(3), s: new Float32Array(1) },
  ],
  ['factors without a', { capacity: 2, b: new Float32Array(8), s: new Float32Array(2) }],
  ['an unknown method', { method: 99 }],
  ['test hooks that are no object', { testHooks: 1 }],
  ['an infinite memory limit', { maxMemory: Number.POSITIVE_INFINITY }],
];

describe('the native boundary', () => {
  it('accepts the job that the others spoil', async () => {
    addon().approximate(job());
    await addon().approximateAsync(job());
  });

  it.each(SPOILT)('%s is refused, by the plain function and by the asynchronous one', (_, change) => {
    const spoilt = { ...job(), ...change } as unknown as ApproximateJob;
    expect(() => addon().approximate(spoilt)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^ERR_(ARGUMENT|SHAPE)$/) }),
    );
    expect(() => addon().approximateAsync(spoilt)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^ERR_/) }),
    );
  });

  it('refuses calls without a job', () => {
    for (const name of ['approximate', 'svd', 'gemm', 'toFloat32', 'estimateApproximate'] as const) {
      const native = addon()[name] as unknown as (...args: unknown[]) => void;
      expect(() => native()).toThrow(/job object/);
      expect(() => native(7)).toThrow(/job object/);
    }
  });

  it('refuses detached arrays and arrays over resizable buffers', () => {
    const detached = new Float32Array(12);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    expect(() => addon().approximate({ ...job(), w: detached })).toThrow(/0 elements, 12 are needed/);
    const buffer = new (ArrayBuffer as unknown as new (n: number, o: object) => ArrayBuffer)(48, { maxByteLength: 96 });
    expect(() => addon().approximate({ ...job(), w: new Float32Array(buffer) })).toThrow(/resizable/);
    return expect(laser({ data: new Float32Array(buffer), shape: [4, 3] }, { rank: 1 })).rejects.toThrow(/resizable/);
  });
});

describe('an input that is given away while native code reads it', () => {
  it('is still read: a small one was copied, a large one cannot be taken', async () => {
    for (const n of [100, 600]) {
      const w = gaussian([n, n]);
      const expected = await laser({ data: w.data.slice(), shape: w.shape }, { rank: 5, method: 'exact' });
      const running = laser(w, { rank: 5, method: 'exact' });
      try {
        structuredClone(w.data.buffer, { transfer: [w.data.buffer as ArrayBuffer] });
      } catch (error) {
        expect((error as Error).name).toBe('DataCloneError');
      }
      expect((await running).data).toEqual(expected.data);
    }
  });
});
