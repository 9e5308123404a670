import { ArgumentError } from '../errors.js';
import { asTensor, type Tensor, type TensorLike } from '../tensor/tensor.js';

/** What registering a hook returns. */
export interface HookHandle {
  /** Takes the hook away; harmless when it is gone already. */
  remove(): void;
}

/** Functions that are called in the order in which they were registered. */
export class Hooks<F extends (...values: never[]) => unknown> {
  readonly #entries = new Set<{ readonly hook: F }>();

  get size(): number {
    return this.#entries.size;
  }

  /** The same function registered twice is called twice. */
  register(hook: F): HookHandle {
    if (typeof hook !== 'function') throw new ArgumentError('hook', 'a function', hook);
    const entry = { hook };
    this.#entries.add(entry);
    return { remove: () => void this.#entries.delete(entry) };
  }

  /** Passes a value along the hooks: each sees what the one before it made of it. */
  pass(value: Tensor, call: (hook: F, value: Tensor) => unknown): Tensor {
    // A hook may register or remove hooks; that counts from the next pass on.
    return [...this.#entries].reduce((current, { hook }) => replaced(call(hook, current), current), value);
  }
}

/** A hook's answer: nothing keeps the value, a tensor of the same shape replaces it. */
function replaced(answer: unknown, value: Tensor): Tensor {
  if (answer === undefined || answer === null) return value;
  const replacement = asTensor(answer as TensorLike, 'the value that a hook returned');
  const { shape } = replacement;
  if (shape.length !== value.shape.length || shape.some((size, i) => size !== value.shape[i])) {
    throw new ArgumentError('the value that a hook returned', `the shape [${value.shape}]`, shape, 'ERR_SHAPE');
  }
  return replacement;
}
