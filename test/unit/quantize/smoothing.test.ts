import { describe, expect, it } from 'vitest';
import type { Moments } from '../../../lib/lowrank/moments.js';
import { quantizeChannels } from '../../../lib/quantize/quantize-matrix.js';
import { inputNoise, smoothingOf } from '../../../lib/quantize/smoothing.js';
import { distance, gaussian, norm } from '../../support/matrices.js';

const [M, N, COUNT] = [40, 48, 200] as const;
/** Inputs of which a few are far larger than the others. */
const x = gaussian([COUNT, N], 3).data.map((value, at) => value * (at % 12 === 5 ? 30 : 1));
const moments: Moments = {
  kind: 'diagonal',
  second: Float64Array.from({ length: N }, (_, j) => {
    let sum = 0;
    for (let i = 0; i < COUNT; i++) sum += x[i * N + j]! ** 2 / COUNT;
    return sum;
  }),
};

function times(inputs: Float32Array, w: ArrayLike<number>): Float64Array {
  const y = new Float64Array(COUNT * M);
  for (let i = 0; i < COUNT; i++) {
    for (let k = 0; k < M; k++) for (let j = 0; j < N; j++) y[i * M + k]! += inputs[i * N + j]! * w[k * N + j]!;
  }
  return y;
}

/** Inputs divided by scales and rounded to 8 bits, as by DynamicQuantizeLinear. */
function roundedInputs(scales: Float32Array): Float32Array {
  const inputs = x.map((value, at) => value / scales[at % N]!);
  const low = Math.min(0, ...inputs);
  const step = (Math.max(0, ...inputs) - low) / 255;
  const zero = Math.round(-low / step);
  return inputs.map((value) => (Math.round(value / step + zero) - zero) * step);
}

/** x W^T with both rounded to 8 bits, as DynamicQuantizeLinear and MatMulInteger do it. */
async function rounded(weights: Float32Array, scales: Float32Array): Promise<Float64Array> {
  const coded = roundedInputs(scales);
  const smooth = { data: weights.map((value, at) => value * scales[at % N]!), shape: [M, N] };
  const { codes, scales: own } = await quantizeChannels(smooth);
  const stored = smooth.data.map((_, at) => codes[(at % N) * M + Math.floor(at / N)]! * own[Math.floor(at / N)]!);
  return times(coded, stored);
}

describe('smoothing', () => {
  const w = gaussian([M, N], 1);

  it('lets 8 bits lose far less where a few inputs are large', async () => {
    const expected = times(x, w.data);
    const without = distance(await rounded(w.data, new Float32Array(N).fill(1)), expected);
    const scales = smoothingOf([w], moments)!;
    expect(distance(await rounded(w.data, scales), expected)).toBeLessThan(0.5 * without);
    expect(without).toBeLessThan(0.1 * norm(expected));
    expect(scales[5]).toBeGreaterThan(2 * scales[4]!);
  });

  it('shows in the estimate of what rounding inputs loses, which is on the safe side', () => {
    const expected = times(x, w.data);
    const lost = (scales: Float32Array) => {
      const scaled = w.data.map((value, at) => value * scales[at % N]!);
      return distance(times(roundedInputs(scales), scaled), expected) ** 2 / COUNT;
    };
    const [none, smooth] = [new Float32Array(N).fill(1), smoothingOf([w], moments)!];
    expect(inputNoise(w, moments)).toBe(inputNoise(w, moments, none));
    for (const scales of [none, smooth]) {
      const estimate = inputNoise(w, moments, scales);
      expect(estimate).toBeGreaterThan(lost(scales));
      expect(estimate).toBeLessThan(12 * lost(scales));
    }
    expect(inputNoise(w, moments, smooth)).toBeLessThan(0.5 * inputNoise(w, moments));
  });

  it('takes the diagonal of full moments', () => {
    const full = new Float64Array(N * N).fill(0.1);
    for (let j = 0; j < N; j++) full[j * N + j] = moments.second[j]!;
    expect(smoothingOf([w], { kind: 'inputs', second: full })).toEqual(smoothingOf([w], moments));
  });

  it('leaves inputs that are always 0 as they are, and does nothing where all are', () => {
    const some = moments.second.slice();
    some[3] = 0;
    expect(smoothingOf([w], { kind: 'diagonal', second: some })![3]).toBe(1);
    expect(smoothingOf([w], { kind: 'diagonal', second: new Float64Array(N) })).toBeUndefined();
  });
});
