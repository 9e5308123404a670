/** Checks the options of every public function: their names, and the types of their values. */

import { ArgumentError } from './errors.js';
import { mostSimilar } from './text/similar.js';

/**
 * The required type of an option's value. Unless stated here, its range is checked where it is
 * used.
 */
export interface OptionType<T> {
  /** For messages, as in "expected a number". */
  readonly expected: string;
  readonly is: (value: unknown) => value is T;
  /** The options inside an option that is an object. */
  readonly inner?: AnyOptionTypes;
}

type KeyOf<T> = T extends unknown ? keyof T : never;
type ValueOf<T, K> = T extends unknown ? (K extends keyof T ? T[K] : never) : never;

/**
 * The type of every option in `T`, or in any member of a union. A list that lacks one does not
 * compile.
 */
export type OptionTypes<T> = { readonly [K in KeyOf<T>]: OptionType<NonNullable<ValueOf<T, K>>> };
type AnyOptionTypes = Readonly<Record<string, OptionType<unknown>>>;

/**
 * Checks a function's options and returns a copy of those that were given. Each is read once, so
 * what was checked is what is used. An option that is undefined counts as not given.
 *
 * @param given - straight from the caller, so it may be anything.
 * @param taker - the name of the function or class, for messages.
 * @throws ArgumentError if `given` is not an object, has a name that `types` lacks, or has a value
 * of the wrong type, including null and NaN.
 */
export function checkOptions<T extends object>(given: T | undefined, types: OptionTypes<T>, taker: string): T {
  if (given === undefined) return {} as T;
  return checked(given, types as AnyOptionTypes, taker, '') as T;
}

function checked(given: unknown, types: AnyOptionTypes, taker: string, path: string): object {
  if (!isObject(given)) throw new ArgumentError(path.slice(0, -1) || 'options', 'an object', given);
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(types, name) && given[name] !== undefined) throw unknownOption(name, given, types, taker, path);
  }
  const known: Record<string, unknown> = {};
  for (const [name, type] of Object.entries(types)) {
    const value = given[name];
    if (value === undefined) continue;
    if (!type.is(value)) throw new ArgumentError(path + name, type.expected, value);
    const inside = type.inner !== undefined && isObject(value);
    known[name] = inside ? checked(value, type.inner, taker, `${path}${name}.`) : value;
  }
  return known;
}

function unknownOption(
  name: string,
  given: Record<string, unknown>,
  types: AnyOptionTypes,
  taker: string,
  path: string,
): ArgumentError {
  const names = Object.keys(types);
  const similar = mostSimilar(name, names);
  const meant = similar === undefined ? '' : ` (did you mean \`${path}${similar}\`?)`;
  const all = names.map((known) => path + known).join(', ');
  return new ArgumentError(
    path + name,
    `an option of ${taker}${meant}`,
    given[name],
    'ERR_ARGUMENT',
    `The options of ${taker} are: ${all}.`,
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const boolean: OptionType<boolean> = {
  expected: 'true or false',
  is: (value): value is boolean => typeof value === 'boolean',
};

export const text: OptionType<string> = {
  expected: 'a string',
  is: (value): value is string => typeof value === 'string',
};

export const number: OptionType<number> = {
  expected: 'a number',
  is: (value): value is number => typeof value === 'number' && !Number.isNaN(value),
};

export function wholeNumber(least: number): OptionType<number> {
  return {
    expected: `a whole number of at least ${least}`,
    is: (value): value is number => Number.isSafeInteger(value) && (value as number) >= least,
  };
}

/**
 * Typed so that it fits any callback: the parameters and the result cannot be checked before a
 * call.
 */
export const callback: OptionType<(...args: unknown[]) => never> = {
  expected: 'a function',
  is: (value): value is (...args: unknown[]) => never => typeof value === 'function',
};

/**
 * Accepts signals of other realms and polyfills, which are not instances of this realm's
 * AbortSignal.
 */
export const abortSignal: OptionType<AbortSignal> = {
  expected: 'an AbortSignal',
  is: (value): value is AbortSignal =>
    value instanceof AbortSignal ||
    (isObject(value) &&
      typeof value.aborted === 'boolean' &&
      typeof value.addEventListener === 'function' &&
      typeof value.throwIfAborted === 'function'),
};

export const float32Array: OptionType<Float32Array> = {
  expected: 'a Float32Array',
  is: (value): value is Float32Array => value instanceof Float32Array,
};

/** @param expected - for messages, where a list of the names does not say enough. */
export function oneOf<T extends string>(
  names: readonly T[],
  expected = names.length === 1 ? `"${names[0]}"` : `one of ${names.join(', ')}`,
): OptionType<T> {
  return { expected, is: (value): value is T => (names as readonly unknown[]).includes(value) };
}

export function listOf<T>(type: OptionType<T>): OptionType<readonly T[]> {
  return {
    expected: `an array, each element ${type.expected}`,
    is: (value): value is readonly T[] => Array.isArray(value) && value.every((item) => type.is(item)),
  };
}

export function either<A, B>(a: OptionType<A>, b: OptionType<B>): OptionType<A | B> {
  const inner = a.inner ?? b.inner;
  return {
    expected: `${a.expected} or ${b.expected}`,
    is: (value): value is A | B => a.is(value) || b.is(value),
    ...(inner && { inner }),
  };
}

/** An object with options of its own. */
export function optionsOf<T extends object>(types: OptionTypes<T>): OptionType<T> {
  return { expected: 'an object', is: (value): value is T & object => isObject(value), inner: types as AnyOptionTypes };
}

/** For values that the function checks itself. */
export function checkedBelow<T>(): OptionType<T> {
  return { expected: 'a value', is: (value): value is T => value !== undefined };
}
