import { CheckpointError, LowRankError } from '../../lib/errors.js';

/** The error that something fails with; it must be one of this package. */
export function failure(action: Promise<unknown>): Promise<LowRankError>;
/** The error that a call throws at once. */
export function failure(action: () => unknown): LowRankError;
export function failure(action: Promise<unknown> | (() => unknown)): Promise<LowRankError> | LowRankError {
  if (typeof action !== 'function') return action.then(unexpected, expected);
  let result: unknown;
  try {
    result = action();
  } catch (error) {
    return expected(error);
  }
  return unexpected(result);
}

function expected(error: unknown): LowRankError {
  if (error instanceof LowRankError) return error;
  throw error;
}

function unexpected(result: unknown): never {
  throw new Error(`expected a failure, got ${String(result)}`);
}

/** The `kind` of a checkpoint error, or the `code` of another one. */
export async function kind(action: Promise<unknown>): Promise<string> {
  const error = await failure(action);
  return error instanceof CheckpointError ? error.kind : error.code;
}
