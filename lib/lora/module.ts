import { threadCount } from '../addon/call.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { boolean, checkOptions, float32Array, number, type OptionTypes } from '../options.js';
import { asTensor, elements, Tensor, type TensorLike } from '../tensor/tensor.js';
import { type HookHandle, Hooks } from './hooks.js';
import type { Parameter } from './parameter.js';

/** How {@link Module.forward} and {@link Module.backward} return their result. */
export interface PassOptions {
  /** An array of the result's length for the result, so that no memory is allocated. */
  out?: Float32Array | undefined;
  /** Adds the result to `out` instead of overwriting it. */
  add?: boolean | undefined;
  /** Threads to use; by default as many as there are cores. Small products use one. */
  threads?: number | undefined;
}

export interface ForwardOptions extends PassOptions {
  /** Whether a backward pass will follow; by default `training` decides. False records nothing. */
  grad?: boolean | undefined;
}

const PASS_OPTIONS: OptionTypes<PassOptions> = { out: float32Array, add: boolean, threads: number };
const FORWARD_OPTIONS: OptionTypes<ForwardOptions> = { ...PASS_OPTIONS, grad: boolean };

/** Called before a forward pass. A returned tensor, of the same shape, replaces the input. */
export type ForwardPreHook<M> =
  | ((module: M, input: Tensor) => TensorLike | undefined)
  | ((module: M, input: Tensor) => void);
/** Called after a forward pass. A returned tensor, of the same shape, replaces the output. */
export type ForwardHook<M> =
  | ((module: M, input: Tensor, output: Tensor) => TensorLike | undefined)
  | ((module: M, input: Tensor, output: Tensor) => void);
/**
 * Called after a backward pass. A returned tensor, of the same shape, replaces the gradient of the
 * input.
 */
export type BackwardHook<M> =
  | ((module: M, gradInput: Tensor, gradOutput: Tensor) => TensorLike | undefined)
  | ((module: M, gradInput: Tensor, gradOutput: Tensor) => void);

/** Numbers as the rows of a matrix, whatever their leading dimensions. */
export interface Rows {
  readonly data: Float32Array;
  readonly rows: number;
}

/** The destination of a product. */
export interface ProductTarget extends Rows {
  readonly add: boolean;
  /** The number of threads as the addon reads it: 0 for the default. */
  readonly threads: number;
}

/** A forward pass, with what its backward pass needs. */
export interface RecordedPass<Saved> {
  readonly output: Tensor;
  readonly input: Tensor;
  readonly saved: Saved;
}

/**
 * A map of the last dimension with gradients: [.., dim] -> [.., dimOut].
 *
 * In training every `forward` records its input, by reference: the numbers must not change until
 * the backward pass. Each `backward` belongs to the latest forward pass without one, so n forward
 * passes are followed by up to n backward passes in reverse order, and the gradients of the
 * parameters add up. Passes without a backward pass stay recorded: for inference set `training` to
 * false, or pass `grad: false`, or call `forget`.
 *
 * There is no automatic differentiation: if a hook replaces an input or an output, gradients are
 * those of the map between the replaced input and the output before its replacement.
 */
export abstract class Module<Saved> {
  /** Whether forward passes are recorded. */
  training = true;
  abstract readonly dim: number;
  abstract readonly dimOut: number;
  readonly #passes: RecordedPass<Saved>[] = [];
  readonly #preHooks = new Hooks<ForwardPreHook<this>>();
  readonly #hooks = new Hooks<ForwardHook<this>>();
  readonly #backwardHooks = new Hooks<BackwardHook<this>>();

  /** Returns the parameters that an optimizer trains. */
  abstract parameters(): Parameter[];

  /** Computes `y` from `x`; with `grad`, returns what {@link differentiate} needs. */
  protected abstract compute(x: Rows, y: ProductTarget, grad: boolean): Saved;

  /** Computes `gradX` from `gradY`, and adds to the gradients of the parameters. */
  protected abstract differentiate(saved: Saved, gradY: Rows, gradX: ProductTarget): void;

  /** Sets whether the next forward passes are recorded. Returns the module. */
  train(training = true): this {
    this.training = training;
    return this;
  }

  /** Calls `train(false)`. */
  eval(): this {
    return this.train(false);
  }

  /** The number of recorded forward passes without a backward pass. */
  get pending(): number {
    return this.#passes.length;
  }

  /** Drops the recorded forward passes. */
  forget(): void {
    this.#passes.length = 0;
  }

  /** Clears the gradients of all parameters, see {@link Parameter.zeroGrad}. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.zeroGrad();
  }

  /**
   * Computes the output.
   *
   * @param x - [.., dim], with any number of leading dimensions, including none.
   * @returns [.., dimOut].
   * @throws LowRankError `ERR_SHAPE` if the last dimension is not `dim` or `out` has another
   *   length, `ERR_ARGUMENT`.
   */
  forward(x: TensorLike, options?: ForwardOptions): Tensor {
    const given = checkOptions(options, FORWARD_OPTIONS, 'forward');
    const { grad = this.training } = given;
    const pass = this.pass(x, { ...given, grad });
    if (grad) this.#passes.push(pass);
    return pass.output;
  }

  /**
   * Computes the gradients of the latest forward pass without a backward pass: adds those of the
   * parameters to their `grad`, and returns that of the input.
   *
   * @param gradY - the gradient of the output, of its shape.
   * @returns the gradient of the input, of its shape.
   * @throws LowRankError `ERR_ARGUMENT` if there is no such forward pass, `ERR_SHAPE` if the shapes
   *   differ.
   */
  backward(gradY: TensorLike, options?: PassOptions): Tensor {
    const given = checkOptions(options, PASS_OPTIONS, 'backward');
    const pass = this.#passes.at(-1);
    if (!pass) {
      throw new LowRankError('ERR_ARGUMENT', 'backward: no forward pass is recorded', {
        hint: 'Call forward first, in training mode and without grad: false; each forward pass allows one backward pass.',
      });
    }
    return this.backwardOf(pass, gradY, given, () => void this.#passes.pop());
  }

  /** Calls `hook(module, input)` before each forward pass. */
  registerForwardPreHook(hook: ForwardPreHook<this>): HookHandle {
    return this.#preHooks.register(hook);
  }

  /** Calls `hook(module, input, output)` after each forward pass. */
  registerForwardHook(hook: ForwardHook<this>): HookHandle {
    return this.#hooks.register(hook);
  }

  /**
   * Calls `hook(module, gradInput, gradOutput)` after each backward pass (PyTorch's
   * `register_full_backward_hook`). The gradients of the parameters have been added by then.
   */
  registerBackwardHook(hook: BackwardHook<this>): HookHandle {
    return this.#backwardHooks.register(hook);
  }

  /**
   * Does a forward pass whose record the caller keeps, for modules that consist of others; see
   * {@link backwardOf}.
   */
  pass(x: TensorLike, options: ForwardOptions): RecordedPass<Saved> {
    const { grad = false } = options;
    const given = asTensor(x, 'x');
    if (given.shape.length === 0 || given.shape.at(-1) !== this.dim) {
      throw new ArgumentError('x.shape', `a last dimension of ${this.dim}`, given.shape, 'ERR_SHAPE');
    }
    const input = this.#preHooks.pass(given, (hook, value) => hook(this, value));
    const shape = input.shape.with(-1, this.dimOut);
    const rows = elements(shape.slice(0, -1));
    const target = targetOf(options, rows, this.dimOut);
    requireApart(target.data, input.data, 'x');
    let saved: Saved | undefined;
    const output = throughHooks(target, shape, this.#hooks.size > 0, {
      compute: (y) => {
        saved = this.compute({ data: input.data, rows }, y, grad);
      },
      hooks: (y) => this.#hooks.pass(y, (hook, value) => hook(this, input, value)),
    });
    return { input, output, saved: saved! };
  }

  /** Does the backward pass of `pass`. `begun` is called once the arguments have been checked. */
  backwardOf(pass: RecordedPass<Saved>, gradY: TensorLike, options: PassOptions, begun = () => {}): Tensor {
    const gradOutput = asTensor(gradY, 'gradY');
    const { shape } = pass.output;
    if (gradOutput.shape.length !== shape.length || gradOutput.shape.some((size, i) => size !== shape[i])) {
      throw new ArgumentError(
        'gradY.shape',
        `[${shape}], the shape of the latest pending output`,
        gradOutput.shape,
        'ERR_SHAPE',
      );
    }
    const rows = elements(shape.slice(0, -1));
    const target = targetOf(options, rows, this.dim);
    requireApart(target.data, gradOutput.data, 'gradY');
    requireApart(target.data, pass.input.data, 'x');
    begun();
    return throughHooks(target, pass.input.shape, this.#backwardHooks.size > 0, {
      compute: (gradX) => this.differentiate(pass.saved, { data: gradOutput.data, rows }, gradX),
      hooks: (gradX) => this.#backwardHooks.pass(gradX, (hook, value) => hook(this, value, gradOutput)),
    });
  }
}

function targetOf({ out, add = false, threads }: PassOptions, rows: number, width: number): ProductTarget {
  const length = rows * width;
  if (add && !out) throw new ArgumentError('add', 'an array to add to, as `out`', 'none');
  // The checks for tensors also fit arrays.
  if (out && asTensor({ data: out, shape: [out?.length] }, 'out').data.length !== length) {
    throw new ArgumentError('out', `a Float32Array of ${length} numbers`, out, 'ERR_SHAPE');
  }
  return { data: out ?? new Float32Array(length), rows, add, threads: threadCount(threads) };
}

/**
 * Computes into `target`. If hooks have to see the result, it is computed elsewhere, and their
 * result is copied to `target`.
 */
function throughHooks(
  target: ProductTarget,
  shape: readonly number[],
  hooked: boolean,
  step: { compute: (target: ProductTarget) => void; hooks: (value: Tensor) => Tensor },
): Tensor {
  const { data } = target;
  if (!hooked) {
    step.compute(target);
    return new Tensor(data, shape);
  }
  const alone = { ...target, data: new Float32Array(data.length), add: false };
  step.compute(alone);
  const value = step.hooks(new Tensor(alone.data, shape)).data;
  if (!target.add) {
    data.set(value);
  } else {
    for (let i = 0; i < data.length; i++) data[i]! += value[i]!;
  }
  return new Tensor(data, shape);
}

/** Refuses overlapping arrays: results are written while the arguments are still needed. */
function requireApart(out: Float32Array, read: Float32Array, name: string): void {
  const begin = Math.max(out.byteOffset, read.byteOffset);
  const end = Math.min(out.byteOffset + out.byteLength, read.byteOffset + read.byteLength);
  if (out.buffer === read.buffer && begin < end) {
    throw new ArgumentError(
      'out',
      `an array that does not overlap ${name}, which is still needed`,
      `one that overlaps ${name}`,
    );
  }
}
