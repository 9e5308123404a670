import { ArgumentError } from '../errors.js';
import { asTensor, Tensor, type TensorLike } from '../tensor/tensor.js';
import { type HookHandle, Hooks } from './hooks.js';

/** Receives a gradient before it is added to `grad`; a returned tensor replaces the gradient. */
export type GradientHook = ((gradient: Tensor) => TensorLike | undefined) | ((gradient: Tensor) => void);

/** The destination of a gradient in a backward pass. */
export interface GradientTarget {
  readonly data: Float32Array;
  readonly add: boolean;
}

/** A tensor to train: optimizers write into `data`, backward passes add to `grad`. */
export class Parameter extends Tensor {
  #grad: Tensor | undefined;
  /**
   * The memory of `grad`, which {@link zeroGrad} keeps, so that training allocates no memory at
   * each step.
   */
  #store: Float32Array | undefined;
  readonly #hooks = new Hooks<GradientHook>();

  /** @param value - its data is used without a copy, unless it is a view that is not row-major. */
  constructor(value: TensorLike) {
    const { data, shape } = asTensor(value, 'value');
    super(data, shape);
  }

  /**
   * The sum of the gradients since {@link zeroGrad}, in the shape of the parameter; undefined
   * before the first.
   */
  get grad(): Tensor | undefined {
    return this.#grad;
  }

  /** @throws ArgumentError `ERR_SHAPE` if the gradient does not have the parameter's shape. */
  set grad(gradient: TensorLike | undefined) {
    if (gradient === undefined) {
      this.#grad = undefined;
      return;
    }
    const { data, shape } = asTensor(gradient, 'grad');
    if (shape.length !== this.shape.length || shape.some((size, i) => size !== this.shape[i])) {
      throw new ArgumentError('grad.shape', `[${this.shape}]`, shape, 'ERR_SHAPE');
    }
    this.#hold(data);
  }

  /** Clears the gradient. The next backward pass overwrites its memory: copy it to keep it. */
  zeroGrad(): void {
    this.#grad = undefined;
  }

  /**
   * Calls `hook` with every new gradient, before it is added to `grad`; its result is added
   * instead.
   */
  registerHook(hook: GradientHook): HookHandle {
    return this.#hooks.register(hook);
  }

  /** @internal Returns where the next gradient must be written; call {@link arrived} afterwards. */
  target(): GradientTarget {
    // Hooks must see only this gradient.
    if (this.#hooks.size > 0) return { data: new Float32Array(this.data.length), add: false };
    if (this.#grad) return { data: this.#grad.data, add: true };
    this.#store ??= new Float32Array(this.data.length);
    return { data: this.#store, add: false };
  }

  /** @internal Records that the gradient is at `target`. */
  arrived({ data, add }: GradientTarget): void {
    if (add) return;
    if (data === this.#store) {
      this.#hold(data);
      return;
    }
    const gradient = this.#hooks.pass(new Tensor(data, this.shape), (hook, value) => hook(value)).data;
    if (this.#grad) {
      const sum = this.#grad.data;
      for (let i = 0; i < sum.length; i++) sum[i]! += gradient[i]!;
    } else {
      this.#store ??= new Float32Array(this.data.length);
      this.#store.set(gradient);
      this.#hold(this.#store);
    }
  }

  #hold(data: Float32Array): void {
    this.#grad = new Tensor(data, this.shape);
  }
}
