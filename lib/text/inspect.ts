/**
 * The name under which Node's `util.inspect`, and so `console.log`, looks for an object's own way
 * to be printed.
 */
export const INSPECT: unique symbol = Symbol.for('nodejs.util.inspect.custom') as never;
