import { callSync } from '../addon/call.js';
import { addon } from '../addon/load.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { boolean, checkOptions, number, type OptionTypes } from '../options.js';
import { sumOfSquares } from './finite.js';
import { Parameter } from './parameter.js';

export interface SgdOptions {
  /** The learning rate. */
  lr: number;
  /** 0 by default. */
  momentum?: number | undefined;
  /** The share of the gradient that is left out of the momentum, 0 by default. */
  dampening?: number | undefined;
  /** Added to the gradient after multiplication by the parameter; 0 by default. */
  weightDecay?: number | undefined;
  /** False by default; needs a momentum and no dampening. */
  nesterov?: boolean | undefined;
}

export interface AdamWOptions {
  /** The learning rate, 1e-3 by default. */
  lr?: number | undefined;
  /** The decay rates of the means of the gradient and of its square, [0.9, 0.999] by default. */
  betas?: readonly [number, number] | undefined;
  /** 1e-8 by default. */
  eps?: number | undefined;
  /**
   * Shrinks the parameter by lr * weightDecay at each step, independently of the gradient; 0.01 by
   * default.
   */
  weightDecay?: number | undefined;
}

const SGD_OPTIONS: OptionTypes<SgdOptions> = {
  lr: number,
  momentum: number,
  dampening: number,
  weightDecay: number,
  nesterov: boolean,
};

const ADAMW_OPTIONS: OptionTypes<AdamWOptions> = {
  lr: number,
  eps: number,
  weightDecay: number,
  betas: {
    expected: 'two numbers of at least 0 and below 1',
    is: (value): value is [number, number] => Array.isArray(value) && value.length === 2 && value.every(isBeta),
  },
};

function isBeta(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value < 1;
}

/**
 * The base class of optimizers. `step` writes into the parameters' own arrays; it skips parameters
 * without gradient.
 */
export abstract class Optimizer<State> {
  readonly parameters: readonly Parameter[];
  /** The learning rate; may be set between steps. */
  lr: number;
  readonly #states = new Map<Parameter, State>();

  protected constructor(parameters: Iterable<Parameter>, lr: number) {
    this.parameters = checkedParameters(parameters);
    this.lr = atLeast0('lr', lr);
  }

  protected abstract begin(parameter: Parameter): State;
  protected abstract update(parameter: Parameter, gradient: Float32Array, state: State): void;

  /** Takes one step down the gradients. */
  step(): void {
    atLeast0('lr', this.lr);
    for (const parameter of this.parameters) {
      if (!parameter.grad) continue;
      let state = this.#states.get(parameter);
      if (!state) {
        state = this.begin(parameter);
        this.#states.set(parameter, state);
      }
      this.update(parameter, parameter.grad.data, state);
    }
  }

  /** Clears the gradients of all parameters, see {@link Parameter.zeroGrad}. */
  zeroGrad(): void {
    for (const parameter of this.parameters) parameter.zeroGrad();
  }
}

interface SgdState {
  readonly velocity: Float32Array | undefined;
  first: boolean;
}

/**
 * Stochastic gradient descent with momentum, as in PyTorch: v = momentum v + (1 - dampening) g, p
 * -= lr v, where g includes weightDecay p and the first v is g.
 */
export class Sgd extends Optimizer<SgdState> {
  readonly #options: Required<{ [K in Exclude<keyof SgdOptions, 'lr'>]: NonNullable<SgdOptions[K]> }>;

  /** @throws ArgumentError naming the option that is out of range. */
  constructor(parameters: Iterable<Parameter>, options: SgdOptions) {
    const {
      lr,
      momentum = 0,
      dampening = 0,
      weightDecay = 0,
      nesterov = false,
    } = checkOptions(options, SGD_OPTIONS, 'Sgd');
    super(parameters, lr);
    atLeast0('momentum', momentum);
    atLeast0('weightDecay', weightDecay);
    if (!Number.isFinite(dampening)) throw new ArgumentError('dampening', 'a finite number', dampening);
    if (nesterov && (momentum === 0 || dampening !== 0)) {
      throw new ArgumentError('nesterov', 'false, or a momentum above 0 and no dampening', nesterov);
    }
    this.#options = { momentum, dampening, weightDecay, nesterov };
  }

  protected override begin({ data }: Parameter): SgdState {
    return { velocity: this.#options.momentum > 0 ? new Float32Array(data.length) : undefined, first: true };
  }

  protected override update({ data: p }: Parameter, gradient: Float32Array, state: SgdState): void {
    const { velocity, first } = state;
    callSync(addon().sgdStep, { ...this.#options, rate: this.lr, count: p.length, p, gradient, velocity, first });
    state.first = false;
  }
}

interface AdamWState {
  readonly mean: Float32Array;
  readonly square: Float32Array;
  step: number;
}

/**
 * Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019), as PyTorch's
 * `AdamW`.
 */
export class AdamW extends Optimizer<AdamWState> {
  readonly #options: {
    readonly beta1: number;
    readonly beta2: number;
    readonly epsilon: number;
    readonly weightDecay: number;
  };

  /** @throws ArgumentError naming the option that is out of range. */
  constructor(parameters: Iterable<Parameter>, options?: AdamWOptions) {
    const given = checkOptions(options, ADAMW_OPTIONS, 'AdamW');
    const { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01 } = given;
    super(parameters, lr);
    const [beta1, beta2] = betas;
    this.#options = {
      beta1,
      beta2,
      epsilon: atLeast0('eps', eps),
      weightDecay: atLeast0('weightDecay', weightDecay),
    };
  }

  protected override begin({ data }: Parameter): AdamWState {
    return { mean: new Float32Array(data.length), square: new Float32Array(data.length), step: 0 };
  }

  protected override update({ data: p }: Parameter, gradient: Float32Array, state: AdamWState): void {
    state.step++;
    callSync(addon().adamWStep, { ...this.#options, ...state, rate: this.lr, count: p.length, p, gradient });
  }
}

/**
 * Scales all gradients down by the same factor, so that their common norm is at most `maxNorm`
 * (Pascanu, Mikolov and Bengio 2013).
 *
 * @returns the norm before, in float64.
 * @throws LowRankError `ERR_NOT_FINITE` if a gradient contains a NaN or an infinity; all are then
 *   unchanged.
 */
export function clipGradNorm(parameters: Iterable<Parameter>, maxNorm: number): number {
  if (typeof maxNorm !== 'number' || !(maxNorm > 0)) throw new ArgumentError('maxNorm', 'a number above 0', maxNorm);
  const gradients = checkedParameters(parameters).flatMap(({ grad }) => (grad ? [grad.data] : []));
  const norm = Math.sqrt(gradients.reduce((sum, x) => sum + sumOfSquares(x), 0));
  if (!Number.isFinite(norm)) {
    throw new LowRankError('ERR_NOT_FINITE', 'clipGradNorm: a gradient contains a NaN or an infinity', {
      hint: 'A smaller learning rate, or skipping this step (zeroGrad), usually helps.',
    });
  }
  const factor = maxNorm / norm;
  if (factor < 1) for (const x of gradients) callSync(addon().scale, { count: x.length, x, factor });
  return norm;
}

function checkedParameters(parameters: Iterable<Parameter>): readonly Parameter[] {
  if (typeof (parameters as Partial<Iterable<Parameter>> | null)?.[Symbol.iterator] !== 'function') {
    throw new ArgumentError('parameters', 'a list of Parameters', parameters);
  }
  const all = [...new Set(parameters)];
  for (const parameter of all) {
    if (!(parameter instanceof Parameter)) throw new ArgumentError('parameters', 'Parameters only', parameter);
  }
  return all;
}

function atLeast0(name: string, value: number): number {
  if (!(Number.isFinite(value) && value >= 0)) throw new ArgumentError(name, 'a number of at least 0', value);
  return value;
}
