import { printable } from './text/printable.js';

/**
 * Every error of this package has a `code` that never changes, so programs need not parse messages.
 */

export type ErrorCode =
  /** An argument is missing, of the wrong type or out of range. */
  | 'ERR_ARGUMENT'
  /** Data and shape, or two shapes, do not fit together. */
  | 'ERR_SHAPE'
  /** A NaN or an infinity where finite numbers are needed. */
  | 'ERR_NOT_FINITE'
  /** LAPACK did not converge by any method. */
  | 'ERR_NO_CONVERGENCE'
  /** The job needs more memory than is allowed, or than can be addressed. */
  | 'ERR_MEMORY'
  /** No native binary for this platform, or it cannot be loaded. */
  | 'ERR_ADDON'
  /** A fault in the native code that is none of the above. Please report it. */
  | 'ERR_NATIVE'
  /** A checkpoint cannot be found, opened, read or written. */
  | 'ERR_CHECKPOINT_IO'
  /** A checkpoint breaks the rules of its format; `kind` says which. */
  | 'ERR_CHECKPOINT_FORMAT'
  /** The checkpoint has no such tensor, layer or type. */
  | 'ERR_NOT_FOUND'
  /** Valid input that this package does not support. */
  | 'ERR_UNSUPPORTED'
  /** The output already exists, or is the input. */
  | 'ERR_OUTPUT'
  /** A question set cannot be read, or does not have the expected form. */
  | 'ERR_DATASET'
  /** A required optional package is not installed. */
  | 'ERR_PEER'
  /** An engine that evaluates models failed, or returned an invalid answer. */
  | 'ERR_ENGINE';

/** The base class of all errors that this package throws. */
export class LowRankError extends Error {
  /** Never changes, so programs can rely on it. */
  readonly code: ErrorCode;
  /** How to fix it, in one sentence; the command line prints it under the message. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string | undefined; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.hint = options.hint;
  }
}

/** An invalid argument. The message names it, what was expected and what was given. */
export class ArgumentError extends LowRankError {
  /** The offending argument. */
  readonly argument: string;

  constructor(argument: string, expected: string, actual: unknown, code: ErrorCode = 'ERR_ARGUMENT', hint?: string) {
    super(code, `${printable(argument)}: expected ${expected}, got ${describe(actual)}`, { hint });
    this.argument = argument;
  }
}

/** A checkpoint cannot be read or written as requested. */
export class CheckpointError extends LowRankError {
  /**
   * The kind of fault. For safetensors it is the reference reader's name (`HeaderTooLarge`,
   * `InvalidOffset`, ...).
   */
  readonly kind: string;
  /** The faulty file. */
  readonly file: string;

  constructor(
    code: 'ERR_CHECKPOINT_IO' | 'ERR_CHECKPOINT_FORMAT' | 'ERR_OUTPUT',
    kind: string,
    file: string,
    message: string,
    options: { hint?: string; cause?: unknown } = {},
  ) {
    super(code, `${file}: ${message}`, options);
    this.kind = kind;
    this.file = file;
  }
}

/** The longest description of a value, in UTF-16 units. */
const MAX_DESCRIPTION = 400;
/** The lengths at which strings and names, arrays, and nested arrays are cut off. */
const MAX_TEXT = 60;
const MAX_ELEMENTS = 8;
const MAX_DEPTH = 4;

/**
 * Describes a value in a short phrase for an error message. Never throws, whatever the value's
 * getters and proxy traps do. The phrase has at most 400 characters, all of them printable.
 */
export function describe(value: unknown): string {
  const phrase = describeAt(value, 0);
  return phrase.length > MAX_DESCRIPTION ? `${phrase.slice(0, MAX_DESCRIPTION - 3)}...` : phrase;
}

function describeAt(value: unknown, depth: number): string {
  switch (typeof value) {
    case 'string':
      return quoted(shortened(value));
    case 'bigint':
      // Converting a bigint with millions of digits takes seconds.
      return value === BigInt.asIntN(128, value) ? String(value) : 'a very large bigint';
    case 'function':
    case 'symbol':
      return `a ${typeof value}`;
    case 'object':
      break;
    default:
      return String(value);
  }
  if (value === null) return 'null';
  // Getters and proxies, revoked ones in particular, may throw at any access.
  try {
    return describeObject(value, depth);
  } catch {
    return 'an object';
  }
}

function describeObject(value: object, depth: number): string {
  if (Array.isArray(value)) {
    if (depth === MAX_DEPTH) return '[...]';
    const { length } = value;
    const shown = Array.from({ length: Math.min(length, MAX_ELEMENTS) }, (_, i) => describeAt(value[i], depth + 1));
    return `[${shown.join(', ')}${length > MAX_ELEMENTS ? ', ...' : ''}]`;
  }
  const name: unknown = value.constructor?.name;
  if (typeof name !== 'string' || name === '') return 'an object';
  const printed = printable(shortened(name));
  return ArrayBuffer.isView(value) ? `${printed} of ${value.byteLength} bytes` : printed;
}

function shortened(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT - 3)}...` : text;
}

/** Quotes as JavaScript does. */
function quoted(text: string): string {
  return `"${printable(text.replace(/["\\]/g, '\\$&'))}"`;
}
