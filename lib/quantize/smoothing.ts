import type { Moments } from '../lowrank/moments.js';
import type { Tensor } from '../tensor/tensor.js';

/** Scales this far from 1, either way, would leave the range of int8 to too few inputs. */
const MOST = 32;

/**
 * Returns what to divide the inputs of layers by, and to multiply the columns of their weights by, before both are rounded
 * to 8 bits with one scale for all inputs: the geometric mean of what balances either side (SmoothQuant, Xiao et al. 2023).
 * A few inputs that are far larger than the others would otherwise leave them few codes.
 *
 * @param weights of all layers with these inputs, [m, n]
 * @param moments of the inputs, of kind `inputs` or `diagonal`
 * @returns n numbers above 0; undefined where no input ever differs from 0
 */
export function smoothingOf(weights: readonly Tensor[], { kind, second }: Moments): Float32Array | undefined {
  const n = weights[0]!.shape[1]!;
  const stride = kind === 'inputs' ? n + 1 : 1;
  const inputs = Float64Array.from({ length: n }, (_, j) => Math.sqrt(Math.max(0, second[j * stride]!)));
  const largest = new Float64Array(n);
  for (const { data } of weights) {
    for (let at = 0; at < data.length; at++) {
      const j = at % n;
      largest[j] = Math.max(largest[j]!, Math.abs(data[at]!));
    }
  }
  const logs = inputs.map((size, j) => (size > 0 && largest[j]! > 0 ? Math.log(size / largest[j]!) / 2 : Number.NaN));
  const known = logs.filter((value) => !Number.isNaN(value));
  if (known.length === 0) return undefined;
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const limit = Math.log(MOST);
  return Float32Array.from(logs, (value) =>
    Number.isNaN(value) ? 1 : Math.exp(Math.min(limit, Math.max(-limit, value - mean))),
  );
}
