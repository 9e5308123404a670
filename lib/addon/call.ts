import { markAsUntransferable } from 'node:worker_threads';
import { ArgumentError, type ErrorCode, LowRankError } from '../errors.js';
import { abortSignal, callback, number, type OptionTypes } from '../options.js';
import type { Job } from './contract.js';

/** Options of every long call. */
export interface CallOptions {
  /**
   * Stops the computation at its next step; the promise is rejected with the signal's reason. A
   * call into LAPACK that has started is completed first.
   */
  signal?: AbortSignal | undefined;
  /** Receives the share of the work that is done, from 0 to 1, about ten times a second. */
  onProgress?: ((share: number) => void) | undefined;
  /** Threads to use; by default as many as there are cores, or OPENBLAS_NUM_THREADS. */
  threads?: number | undefined;
}

export const CALL_OPTIONS: OptionTypes<CallOptions> = { signal: abortSignal, onProgress: callback, threads: number };

/** Returns the `threads` option as the addon reads it: 0 for the default. */
export function threadCount(threads: number | undefined): number {
  if (threads === undefined) return 0;
  if (!Number.isSafeInteger(threads) || threads < 1)
    throw new ArgumentError('threads', 'a whole number of at least 1', threads);
  return threads;
}

const PROGRESS_INTERVAL_MS = 100;
const MILLION = 1e6;

/** Inputs up to this size are copied during an asynchronous call, which takes microseconds. */
const COPIED_BYTES = 1 << 20;

/**
 * Returns an array that native code may read while JavaScript continues. A buffer that is
 * transferred to another thread and collected there loses its memory, so small inputs are copied,
 * and the buffers of large ones are marked as untransferable (`structuredClone` then copies or
 * refuses them). Shared memory cannot go away.
 */
export function pinned<T extends Float32Array | Float64Array | Uint8Array>(array: T): T {
  if (!(array.buffer instanceof ArrayBuffer)) return array;
  if (array.byteLength <= COPIED_BYTES) return array.slice() as T;
  return pinnedInPlace(array);
}

/** Does the same as {@link pinned}, for arrays that are also written. */
export function pinnedInPlace<T extends Float32Array | Float64Array | Uint8Array>(array: T): T {
  if (array.buffer instanceof ArrayBuffer) markAsUntransferable(array.buffer);
  return array;
}

/** Runs a native function and converts its errors to ours. */
export function callSync<J extends object, R>(native: (job: J) => R, job: J): R {
  try {
    return native(job);
  } catch (error) {
    throw translated(error);
  }
}

/** Runs an asynchronous native function with a signal and progress. */
export async function callAsync<J extends Job>(
  native: (job: J) => Promise<void>,
  job: J,
  { signal, onProgress }: CallOptions,
): Promise<void> {
  signal?.throwIfAborted();
  const control = new Int32Array(2);
  const stop = () => Atomics.store(control, 0, 1);
  // An error of the caller's own function stops the work and rejects the promise.
  let fault: { error: unknown } | undefined;
  const report = () => {
    try {
      onProgress?.(Atomics.load(control, 1) / MILLION);
    } catch (error) {
      fault ??= { error };
      stop();
    }
  };
  const forget = signal && onAbort(signal, stop);
  const timer = onProgress && setInterval(report, PROGRESS_INTERVAL_MS).unref();
  try {
    await native({ ...job, control });
    if (onProgress) report();
  } catch (error) {
    if (fault === undefined && signal?.aborted) throw signal.reason;
    if (fault === undefined) throw translated(error);
  } finally {
    clearInterval(timer);
    forget?.();
  }
  if (fault) throw fault.error;
}

/**
 * The calls that a signal stops. One listener serves them all: Node warns about more than ten on
 * one signal.
 */
const stops = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls `stop` when the signal aborts; returns a function that cancels this. */
function onAbort(signal: AbortSignal, stop: () => void): () => void {
  let waiting = stops.get(signal);
  if (!waiting) {
    const all = new Set<() => void>();
    signal.addEventListener('abort', () => all.forEach((one) => void one()), { once: true });
    stops.set(signal, all);
    waiting = all;
  }
  waiting.add(stop);
  return () => void waiting.delete(stop);
}

/** Native errors have the codes of lib/errors.ts; this gives them their class. */
function translated(error: unknown): unknown {
  const { code, message } = error as { code?: string; message: string };
  if (typeof code !== 'string' || !code.startsWith('ERR_')) return error;
  return new LowRankError(code as ErrorCode, message, { cause: error });
}
