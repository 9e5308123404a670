import { ArgumentError } from '../errors.js';
import { asTensor, type Tensor, type TensorLike } from '../tensor/tensor.js';

/** A registered hook. */
export interface HookHandle {
  /** Removes the hook; harmless if it is already removed. */
  remove(): void;
}

/** Functions that are called in the order of their registration. */
export class Hooks<F extends (...values: never[]) => unknown> {
  readonly #entries = new Set<{ readonly hook: F }>();

  get size(): number {
    return this.#entries.size;
  }

  /** Registers a function; one that is registered twice is called twice. */
  register(hook: F): HookHandle {
    if (typeof hook !== 'function') throw new ArgumentError('hook', 'a function', hook);
    const entry = { hook };
    this.#entries.add(entry);
    return { remove: () => void this.#entries.delete(entry) };
  }

  /** Passes a value through the hooks: each gets the result of the one before it. */
  pass(value: Tensor, call: (hook: F, value: Tensor) => unknown): Tensor {
    // A hook may register or remove hooks, which takes effect from the next pass on.
    return [...this.#entries].reduce((current, { hook }) => replaced(call(hook, current), current), value);
  }
}

/** Applies a hook's result: undefined keeps the value, a tensor of the same shape replaces it. */
function replaced(answer: unknown, value: Tensor): Tensor {
  if (answer === undefined || answer === null) return value;
  const replacement = asTensor(answer as TensorLike, 'the value that a hook returned');
  const { shape } = replacement;
  if (shape.length !== value.shape.length || shape.some((size, i) => size !== value.shape[i])) {
    throw new ArgumentError('the value that a hook returned', `the shape [${value.shape}]`, shape, 'ERR_SHAPE');
  }
  return replacement;
}
