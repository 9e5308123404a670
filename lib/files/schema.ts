import { describe } from '../errors.js';

/**
 * Checks a value of a JSON document; returns the fault, or undefined if there is none.
 *
 * @param at the position of the value in its document, such as `tasks[3]: cost`; empty for the
 *   document itself
 */
export type Check = (value: unknown, at: string) => string | undefined;

/**
 * The largest number. No count, size or time in our files comes near it; beyond it, sums would lose
 * digits.
 */
const MOST = 2 ** 50;

/** Writes the message of a fault. */
export function expected(what: string, value: unknown, at: string): string {
  return `${at || 'the file'}: expected ${what}, got ${describe(value)}`;
}

function when(is: (value: unknown) => boolean, what: string): Check {
  return (value, at) => (is(value) ? undefined : expected(what, value, at));
}

export const anything: Check = () => undefined;
export const absent: Check = when((value) => value === undefined, 'nothing');
export const aBoolean: Check = when((value) => typeof value === 'boolean', 'true or false');
/** Infinities are allowed: a certificate may contain one. */
export const aNumber: Check = when((value) => typeof value === 'number' && !Number.isNaN(value), 'a number');
/** Seconds, a relative error, or another moderate quantity of at least 0. */
export const aQuantity: Check = aFinite(0, MOST);
/** A norm or a singular value. */
export const aMagnitude: Check = aFinite(0);
export const aString: Check = when((value) => typeof value === 'string', 'a string');
/** A path or name that is not empty and has no NUL, which no operating system accepts. */
export const aName: Check = when(
  (value) => typeof value === 'string' && value !== '' && !value.includes('\0'),
  'a non-empty string',
);
/** Decimal digits, for an integer that a JSON number may not hold exactly. */
export const aDecimal: Check = when(
  (value) => typeof value === 'string' && /^\d+$/.test(value),
  'a string of decimal digits',
);
/** A SHA-256 in our notation. */
export const aDigest: Check = when(
  (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value),
  'a SHA-256 of 64 hexadecimal digits',
);

/** A whole number within limits, which the message states. */
export function aWhole(least = 0, most = MOST): Check {
  const what = most === MOST ? `a whole number of at least ${least}` : `a whole number from ${least} to ${most}`;
  return when((value) => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most, what);
}

/** A finite number within limits. */
export function aFinite(least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY): Check {
  const what =
    least === Number.NEGATIVE_INFINITY
      ? 'a finite number'
      : most >= MOST
        ? `a number of at least ${least}`
        : `a number from ${least} to ${most}`;
  return when((value) => Number.isFinite(value) && (value as number) >= least && (value as number) <= most, what);
}

export function exactly(wanted: string | number | boolean): Check {
  return when((value) => value === wanted, describe(wanted));
}

export function oneOf(...words: readonly string[]): Check {
  return when((value) => words.includes(value as string), `one of ${words.join(', ')}`);
}

/**
 * Allows the value to be absent. JSON has no undefined, so an absent value stands for undefined.
 */
export function optional(check: Check): Check {
  return (value, at) => (value === undefined ? undefined : check(value, at));
}

export function orNull(check: Check): Check {
  return (value, at) => (value === null ? undefined : check(value, at));
}

/** Accepts what one of several checks accepts. Otherwise the last one reports the fault. */
export function either(...checks: readonly Check[]): Check {
  return (value, at) => {
    let fault: string | undefined;
    for (const check of checks) {
      fault = check(value, at);
      if (fault === undefined) return undefined;
    }
    return fault;
  };
}

export function list(check: Check, least = 0, most = Number.POSITIVE_INFINITY): Check {
  return (value, at) => {
    if (!Array.isArray(value)) return expected('a list', value, at);
    if (value.length < least) return `${at}: expected at least ${least}, got ${value.length}`;
    if (value.length > most) return `${at}: expected at most ${most}, got ${value.length}`;
    for (const [i, item] of value.entries()) {
      const fault = check(item, `${at}[${i}]`);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
}

/** Fields without a check may have any value: a later version may add some. */
export function object(fields: Readonly<Record<string, Check>>): Check {
  return (value, at) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return expected('an object', value, at);
    for (const [name, check] of Object.entries(fields)) {
      const field = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
      const fault = check(field, at === '' ? name : `${at}: ${name}`);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
}

/** Applies several checks to one value; the first fault counts. */
export function all(...checks: readonly Check[]): Check {
  return (value, at) => {
    for (const check of checks) {
      const fault = check(value, at);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
}

/** Uses the same check for several fields. */
export function fields<Name extends string>(check: Check, ...names: readonly Name[]): Record<Name, Check> {
  return Object.fromEntries(names.map((name) => [name, check])) as Record<Name, Check>;
}
