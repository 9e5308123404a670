import type { Moments } from '../lowrank/moments.js';
import { fromFloat32, toFloat32 } from '../tensor/convert.js';
import type { PlainTensor } from '../tensor/tensor.js';

/**
 * How much of the differences between inputs the weights take over, to try: 0 is nothing, 1 all.
 * More would blow up inputs that are seldom far from 0, of which moments do not tell how large they
 * can be.
 */
const SHARES = [0, 0.2, 0.3, 0.4, 0.5, 0.6] as const;
/** The largest number of an input is about as many times its root mean square. */
const PEAK = 8;
/** Steps from the smallest input to the largest, and from 0 to the largest weight of an output. */
const [INPUT_STEPS, WEIGHT_STEPS] = [255, 127] as const;

/**
 * Returns what to divide the inputs of layers by, and to multiply the columns of their weights by,
 * before both are rounded to 8 bits with one scale for all inputs (SmoothQuant, Xiao et al. 2023).
 * A few inputs that are far larger than the others would otherwise leave them few codes. The share
 * that the weights take over is the one with the least noise of both.
 *
 * @param weights of all layers with these inputs, [m, n]
 * @param moments of the inputs, of kind `inputs` or `diagonal`
 * @returns n numbers above 0; undefined where nothing is gained
 */
export function smoothingOf(weights: readonly PlainTensor[], { kind, second }: Moments): Float32Array | undefined {
  const n = weights[0]!.shape[1]!;
  const stride = kind === 'inputs' ? n + 1 : 1;
  const sizes = Float64Array.from({ length: n }, (_, j) => Math.sqrt(Math.max(0, second[j * stride]!)));
  const largest = new Float64Array(n);
  const energies = new Float64Array(n);
  for (const { data } of weights) {
    for (let at = 0; at < data.length; at++) {
      const j = at % n;
      largest[j] = Math.max(largest[j]!, Math.abs(data[at]!));
      energies[j]! += data[at]! ** 2;
    }
  }
  let best: { noise: number; scales: Float32Array } | undefined;
  for (const share of SHARES) {
    const scales = scalesFor(share, sizes, largest);
    const noise = noiseOf(scales, sizes, energies, weights);
    if (best === undefined || noise < best.noise) best = { noise, scales };
  }
  return best!.scales.every((scale) => scale === 1) ? undefined : best!.scales;
}

/** size^share / largest^(1 - share) for each input, with a geometric mean of 1. */
function scalesFor(share: number, sizes: Float64Array, largest: Float64Array): Float32Array {
  if (share === 0) return new Float32Array(sizes.length).fill(1);
  const logs = sizes.map((size, j) =>
    size > 0 && largest[j]! > 0 ? share * Math.log(size) - (1 - share) * Math.log(largest[j]!) : Number.NaN,
  );
  const known = logs.filter((value) => !Number.isNaN(value));
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  return inverses(Float32Array.from(logs, (value) => (Number.isNaN(value) ? 1 : Math.exp(mean - value))));
}

/** Where float16 has all its digits. */
const [LEAST, MOST] = [2 ** -14, 2 ** 14] as const;

/** Inputs are divided by what float16 stores, so the weights are multiplied by exactly that. */
function inverses(factors: Float32Array): Float32Array {
  const stored = fromFloat32(
    factors.map((factor) => Math.min(MOST, Math.max(LEAST, factor))),
    'F16',
  );
  return toFloat32(stored, 'F16').map((factor) => 1 / factor);
}

/**
 * The mean square of what rounding adds to all outputs, but for a constant factor: of inputs, and
 * of weights.
 */
function noiseOf(
  scales: Float32Array,
  sizes: Float64Array,
  energies: Float64Array,
  weights: readonly PlainTensor[],
): number {
  const n = scales.length;
  let [largestInput, inputEnergy, weightEnergy] = [0, 0, 0];
  for (let j = 0; j < n; j++) {
    const size = sizes[j]! / scales[j]!;
    largestInput = Math.max(largestInput, size);
    inputEnergy += size ** 2;
    weightEnergy += energies[j]! * scales[j]! ** 2;
  }
  let steps = 0;
  for (const { data } of weights) {
    for (let begin = 0; begin < data.length; begin += n) {
      let most = 0;
      for (let j = 0; j < n; j++) most = Math.max(most, Math.abs(data[begin + j]! * scales[j]!));
      steps += (most / WEIGHT_STEPS) ** 2;
    }
  }
  return ((2 * PEAK * largestInput) / INPUT_STEPS) ** 2 * weightEnergy + steps * inputEnergy;
}

/** The variance of what rounding to whole numbers adds. */
const ROUNDING_VARIANCE = 1 / 12;

/**
 * Estimates the mean square of what it adds to the outputs of a layer that its inputs are rounded
 * to 8 bits, with one scale for all of them: moments do not tell how large the largest is.
 *
 * @param w - [m, n]
 * @param moments of the inputs, of kind `inputs` or `diagonal`
 * @param scales what the columns of the weight are multiplied by first
 */
export function inputNoise({ data, shape }: PlainTensor, { kind, second }: Moments, scales?: Float32Array): number {
  const n = shape[1]!;
  const stride = kind === 'inputs' ? n + 1 : 1;
  let largest = 0;
  for (let j = 0; j < n; j++) {
    largest = Math.max(largest, Math.sqrt(Math.max(0, second[j * stride]!)) / (scales?.[j] ?? 1));
  }
  let energy = 0;
  for (let at = 0; at < data.length; at++) energy += (data[at]! * (scales?.[at % n] ?? 1)) ** 2;
  return ROUNDING_VARIANCE * ((2 * PEAK * largest) / INPUT_STEPS) ** 2 * energy;
}
