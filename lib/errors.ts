/** Floor 0: every error of this package carries a `code` that never changes, so programs need not read messages. */

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
  /** A fault in the native code that is none of the above: please report it. */
  | 'ERR_NATIVE'
  /** A checkpoint cannot be found, opened, read or written. */
  | 'ERR_CHECKPOINT_IO'
  /** A checkpoint breaks the rules of its format; `kind` says which. */
  | 'ERR_CHECKPOINT_FORMAT'
  /** A tensor, layer or type that the checkpoint does not have. */
  | 'ERR_NOT_FOUND'
  /** Something well formed that this package does not do. */
  | 'ERR_UNSUPPORTED'
  /** The output is already there, or is the input. */
  | 'ERR_OUTPUT'
  /** A set of questions cannot be read, or does not have the form that was expected. */
  | 'ERR_DATASET'
  /** An optional package is needed that is not installed. */
  | 'ERR_PEER'
  /** An engine that evaluates models failed, or answered what cannot be understood. */
  | 'ERR_ENGINE';

/** The base of all errors thrown by this package. */
export class LowRankError extends Error {
  /** Stable, for programs. */
  readonly code: ErrorCode;
  /** What to do about it, one sentence; the command line prints it under the message. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.hint = options.hint;
  }
}

/** A wrong argument: always names it, says what was expected and what came. */
export class ArgumentError extends LowRankError {
  /** The offending argument. */
  readonly argument: string;

  constructor(argument: string, expected: string, actual: unknown, code: ErrorCode = 'ERR_ARGUMENT') {
    super(code, `${argument}: expected ${expected}, got ${describe(actual)}`);
    this.argument = argument;
  }
}

/** A checkpoint that cannot be read or written as asked. */
export class CheckpointError extends LowRankError {
  /** The kind of fault; for safetensors the reference reader's own names (`HeaderTooLarge`, `InvalidOffset`, ...). */
  readonly kind: string;
  /** The file at fault. */
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

/** A value as a short phrase for an error message: never long, never throws. */
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return quoted(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return `[${value.slice(0, 8).map(describe).join(', ')}${value.length > 8 ? ', ...' : ''}]`;
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} of ${value.byteLength} bytes`;
  return typeof value === 'object' ? (value.constructor?.name ?? 'an object') : `a ${typeof value}`;
}

/** JSON's quotes, with the characters escaped that JSON leaves alone and a terminal would obey: names come from strangers. */
function quoted(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
