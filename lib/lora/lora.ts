import { callSync } from '../addon/call.js';
import { addon } from '../addon/load.js';
import { ArgumentError } from '../errors.js';
import { COMPUTE_OPTIONS, type ComputeOptions } from '../lowrank/approximate.js';
import { factorize, factorizeSync } from '../lowrank/factorize.js';
import type { LowRank } from '../lowrank/factors.js';
import { checkOptions, number, type OptionTypes, oneOf } from '../options.js';
import { seedOf } from '../random.js';
import { asTensor, Tensor, type TensorLike } from '../tensor/tensor.js';
import { formatCount } from '../text/format.js';
import { INSPECT } from '../text/inspect.js';
import { requireFinite } from './finite.js';
import {
  INITS,
  type LoraFactors,
  type LoraInit,
  oloraFactors,
  pissaFactors,
  randomFactors,
  WEIGHT_INITS,
  type WeightInit,
} from './init.js';
import { Module, type ProductTarget, type Rows } from './module.js';
import { Parameter } from './parameter.js';
import { Scratch } from './scratch.js';

/** `standard` is alpha / r (Hu et al. 2022), `rslora` alpha / sqrt(r) (Kalajdzievski 2023). */
export type LoraScaling = 'standard' | 'rslora';
const SCALINGS: readonly LoraScaling[] = ['standard', 'rslora'];

/** Options that determine the scale of an adapter. */
export interface ScaleOptions {
  /** The scale is alpha / r: 1 by default. */
  alpha?: number | undefined;
  /** `standard` by default. */
  scaling?: LoraScaling | undefined;
}

export interface LoraOptions extends ScaleOptions {
  /** The last dimension of the input. */
  dim: number;
  /** The last dimension of the output. */
  dimOut: number;
  /** The rank, 8 by default. */
  r?: number | undefined;
  /** `gaussian` by default. */
  init?: LoraInit | undefined;
  /**
   * The seed of the random numbers, 0 by default: the same seed gives the same factors, so adapters
   * side by side need different ones.
   */
  seed?: number | undefined;
}

/**
 * How {@link Lora.fromWeight} decomposes a weight; `method`, `seed` and `target` are those of
 * `pissa`.
 */
export interface FromWeightOptions extends ScaleOptions, ComputeOptions {
  /** The rank, 8 by default, at most the smaller side of the weight. */
  r?: number | undefined;
  /** `pissa` by default. */
  init?: WeightInit | undefined;
}

const SCALE_OPTIONS: OptionTypes<ScaleOptions> = { alpha: number, scaling: oneOf(SCALINGS) };
const LORA_OPTIONS: OptionTypes<LoraOptions> = {
  ...SCALE_OPTIONS,
  dim: number,
  dimOut: number,
  r: number,
  seed: number,
  init: oneOf(INITS, `one of ${INITS.join(', ')} (${WEIGHT_INITS.join(' and ')} start from a weight: Lora.fromWeight)`),
};
const FROM_WEIGHT_OPTIONS: OptionTypes<FromWeightOptions> = {
  ...SCALE_OPTIONS,
  ...COMPUTE_OPTIONS,
  r: number,
  init: oneOf(WEIGHT_INITS),
};

/** A split weight: `residual + A B * scale` is the weight, within the rounding of float32. */
export interface SplitWeight {
  readonly lora: Lora;
  /** The frozen base to use beside the adapter, [dim, dimOut]. */
  readonly residual: Tensor;
}

/** What the backward pass needs from the forward pass. */
interface ForwardState {
  readonly x: Float32Array;
  /** x A. */
  readonly h: Float32Array;
}

/**
 * A low-rank adapter (LoRA: Hu et al. 2022): `x -> x W` with W = A B * scale, A [dim, r], B [r,
 * dimOut], and its gradients. W is never formed: a row takes r (dim + dimOut) multiplications
 * instead of dim * dimOut.
 *
 * With G the gradient of the output: dA = scale x' G B', dB = scale (x A)' G, dx = scale G B' A'.
 */
export class Lora extends Module<ForwardState> {
  readonly dim: number;
  readonly dimOut: number;
  readonly r: number;
  readonly alpha: number;
  readonly scaling: LoraScaling;
  /** alpha / r, or alpha / sqrt(r). */
  readonly scale: number;
  /** [dim, r]. */
  readonly A: Parameter;
  /** [r, dimOut]. */
  readonly B: Parameter;
  readonly #scratch = new Scratch();

  /** @throws ArgumentError naming the option that is missing or out of range. */
  constructor(options: LoraOptions);
  /** @internal */
  constructor(options: LoraOptions, factors?: LoraFactors);
  constructor(options: LoraOptions, factors?: LoraFactors) {
    super();
    const given = checkOptions(options, LORA_OPTIONS, 'Lora');
    const { dim, dimOut, r = 8, alpha = 1, scaling = 'standard', init = 'gaussian', seed } = given;
    for (const [name, value] of Object.entries({ dim, dimOut, r })) {
      if (!Number.isSafeInteger(value) || value < 1) {
        throw new ArgumentError(name, 'a whole number of at least 1', value);
      }
    }
    this.dim = dim;
    this.dimOut = dimOut;
    this.r = r;
    this.alpha = alpha;
    this.scaling = scaling;
    this.scale = scaleOf(r, { alpha, scaling });
    const { a, b } = factors ?? randomFactors(init, dim, r, dimOut, seedOf(seed));
    this.A = new Parameter(a);
    this.B = new Parameter(b);
  }

  /**
   * Makes an adapter from copies of the given factors.
   *
   * @param a - [dim, r].
   * @param b - [r, dimOut].
   * @throws LowRankError `ERR_SHAPE` if they do not fit together.
   */
  static fromFactors(a: TensorLike, b: TensorLike, options?: ScaleOptions): Lora {
    const { alpha, scaling } = checkOptions(options, SCALE_OPTIONS, 'Lora.fromFactors');
    const left = matrix(a, 'a');
    const right = matrix(b, 'b');
    const [dim, r] = left.shape as [number, number];
    const [rows, dimOut] = right.shape as [number, number];
    if (rows !== r)
      throw new ArgumentError('b.shape', `[${r}, dimOut], as a has ${r} columns`, right.shape, 'ERR_SHAPE');
    return new Lora({ dim, dimOut, r, alpha, scaling }, { a: left.slice(), b: right.slice() });
  }

  /**
   * Splits the most important part off a weight, to be trained: with `pissa` its r largest singular
   * directions, scaled so that A B * scale is the best approximation of rank r; with `olora` r
   * directions of its QR decomposition. Use `residual` as the frozen base.
   *
   * @param weight - [dim, dimOut]; not modified. Its large ArrayBuffer becomes untransferable.
   * @throws LowRankError as `factorize`; `ERR_ARGUMENT` for a rank that the weight does not have
   *   or, with `pissa`, a scale that is not above 0.
   */
  static async fromWeight(weight: TensorLike, options?: FromWeightOptions): Promise<SplitWeight> {
    const given = checkOptions(options, FROM_WEIGHT_OPTIONS, 'Lora.fromWeight');
    const w = readWeight(weight, given);
    const { init = 'pissa', r = 8 } = given;
    return split(w, given, init === 'pissa' ? await factorize(w, { ...compute(given), rank: r }) : undefined);
  }

  /** {@link Lora.fromWeight}, computed before it returns. */
  static fromWeightSync(weight: TensorLike, options?: FromWeightOptions): SplitWeight {
    const given = checkOptions(options, FROM_WEIGHT_OPTIONS, 'Lora.fromWeightSync');
    const w = readWeight(weight, given);
    const { init = 'pissa', r = 8 } = given;
    return split(w, given, init === 'pissa' ? factorizeSync(w, { ...compute(given), rank: r }) : undefined);
  }

  /** A B * scale [dim, dimOut], computed at each access. */
  get weight(): Tensor {
    const data = new Float32Array(this.dim * this.dimOut);
    this.addTo(data);
    return new Tensor(data, [this.dim, this.dimOut]);
  }

  parameters(): Parameter[] {
    return [this.A, this.B];
  }

  /** @internal What `console.log` prints. */
  [INSPECT](): string {
    const { dim, dimOut, r, alpha, scale } = this;
    const count = formatCount(r * (dim + dimOut));
    return `Lora ${dim} -> ${dimOut}, r ${r}, alpha ${alpha}, scale ${scale}, ${count} parameters`;
  }

  /** @internal Computes `w += factor A B * scale`. */
  addTo(w: Float32Array, factor = 1): void {
    callSync(addon().addLowRank, { ...this.#map(0), scale: factor * this.scale, w });
  }

  protected override compute({ data: x, rows }: Rows, y: ProductTarget, grad: boolean): ForwardState {
    const h = this.#scratch.take(rows * this.r);
    callSync(addon().loraForward, { ...this.#map(y.threads), rows, x, h, y: y.data, add: y.add });
    if (!grad) this.#scratch.give(h);
    return { x, h };
  }

  protected override differentiate({ x, h }: ForwardState, { data: gradY, rows }: Rows, gradX: ProductTarget): void {
    const [targetA, targetB] = [this.A.target(), this.B.target()];
    const gradH = this.#scratch.take(rows * this.r);
    callSync(addon().loraBackward, {
      ...this.#map(gradX.threads),
      rows,
      x,
      h,
      gradY,
      gradH,
      gradA: targetA.data,
      addA: targetA.add,
      gradB: targetB.data,
      addB: targetB.add,
      gradX: gradX.data,
      addX: gradX.add,
    });
    this.#scratch.give(gradH);
    this.#scratch.give(h);
    this.A.arrived(targetA);
    this.B.arrived(targetB);
  }

  #map(threads: number) {
    const { dim, dimOut, r, scale } = this;
    return { dim, dimOut, r, scale, a: this.A.data, b: this.B.data, threads };
  }
}

function scaleOf(r: number, { alpha = 1, scaling = 'standard' }: ScaleOptions): number {
  if (!Number.isFinite(alpha)) throw new ArgumentError('alpha', 'a finite number', alpha);
  return alpha / (scaling === 'rslora' ? Math.sqrt(r) : r);
}

function matrix(value: TensorLike, name: string): Tensor {
  const given = asTensor(value, name);
  if (given.shape.length !== 2 || given.shape.includes(0)) {
    throw new ArgumentError(`${name}.shape`, 'two dimensions of at least 1', given.shape, 'ERR_SHAPE');
  }
  return given;
}

function readWeight(weight: TensorLike, options: FromWeightOptions): Tensor {
  const w = matrix(weight, 'weight');
  const { r = 8, init = 'pissa' } = options;
  const most = Math.min(...w.shape);
  if (!Number.isSafeInteger(r) || r < 1 || r > most) {
    throw new ArgumentError('r', `a whole number from 1 to ${most}, the smaller side of the weight`, r);
  }
  const scale = scaleOf(r, options);
  if (init === 'pissa' && !(scale > 0)) throw new ArgumentError('alpha', 'a number above 0 for pissa', options.alpha);
  if (init === 'olora') requireFinite(w.data, 'weight');
  return w;
}

/** Returns the options of `factorize` among those given. */
function compute({ method, seed, target, maxMemory, signal, onProgress, threads }: FromWeightOptions): ComputeOptions {
  return { method, seed, target, maxMemory, signal, onProgress, threads };
}

function split(w: Tensor, options: FromWeightOptions, principal: LowRank | undefined): SplitWeight {
  const [dim, dimOut] = w.shape as [number, number];
  const { r = 8, alpha, scaling, threads } = options;
  const factors = principal ? pissaFactors(principal, scaleOf(r, { alpha, scaling })) : oloraFactors(w, r, threads);
  const lora = new Lora({ dim, dimOut, r, alpha, scaling }, factors);
  const residual = w.slice();
  lora.addTo(residual.data, -1);
  return { lora, residual };
}
