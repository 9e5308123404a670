import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isTransient } from '../checkpoint/copy/resume.js';
import { type NewTensor, SafetensorsFile, writeSafetensors } from '../checkpoint/safetensors/file.js';
import { CheckpointError } from '../errors.js';
import { lockFolder } from '../files/lock.js';
import { folderBeside, leaveFolder } from './work-folder.js';

/** Sums over vectors of one length. */
export interface Totals {
  readonly sum: Float64Array;
  /** side x side; the lower triangle. */
  readonly second: Float64Array;
  count: number;
}

/**
 * Seconds of work between two saves, at least; and the least share of the time that is not spent on
 * saving.
 */
const INTERVAL_MS = 30_000;
const WORKING_SHARE = 0.95;

/**
 * The sums of a calibration that is still running, in a folder, so that the same one can resume
 * after an interruption.
 */
export class PartialSums {
  #due = performance.now() + INTERVAL_MS;

  /** @param key identifies the calibration */
  constructor(
    private readonly folder: string,
    private readonly key: string,
  ) {}

  /** Whether a file of this name in such a folder is ours. */
  static owns(name: string): boolean {
    return /^pass-\d+\.safetensors$/.test(name);
  }

  /**
   * Restores the sums of a pass; returns how many samples they contain: 0 if there is nothing, or
   * something else.
   */
  async restore(pass: number, totals: readonly Totals[]): Promise<number> {
    let file: SafetensorsFile | undefined;
    try {
      file = await SafetensorsFile.open(this.#file(pass));
      const { tensors, metadata } = file.header;
      if (metadata?.get('key') !== this.key) return 0;
      const read = async (name: string, length: number): Promise<Float64Array | undefined> => {
        const span = tensors.find((tensor) => tensor.name === name && tensor.dtype === 'F64');
        if (span === undefined || span.end - span.begin !== 8 * length) return undefined;
        return new Float64Array((await file!.read(span)).slice().buffer);
      };
      for (const [i, total] of totals.entries()) {
        const sum = await read(`${i}.sum`, total.sum.length);
        const second = await read(`${i}.second`, total.second.length);
        const count = await read(`${i}.count`, 1);
        if (sum === undefined || second === undefined || count === undefined) return 0;
        total.sum.set(sum);
        total.second.set(second);
        total.count = count[0]!;
      }
      return Number(metadata.get('samples'));
    } catch (cause) {
      const isOurs = cause instanceof CheckpointError;
      if (isOurs && (cause.kind === 'NotFound' || cause.code === 'ERR_CHECKPOINT_FORMAT')) return 0;
      throw cause;
    } finally {
      await file?.close();
    }
  }

  /** Saves the sums if it is time to; always if `now`. */
  async save(pass: number, totals: readonly Totals[], samples: number, now = false): Promise<void> {
    const begun = performance.now();
    if (!now && begun < this.#due) return;
    const tensors = new Map<string, NewTensor>();
    const add = (name: string, shape: readonly number[], numbers: Float64Array) => {
      const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
      tensors.set(name, { dtype: 'F64', shape, bytes });
    };
    for (const [i, { sum, second, count }] of totals.entries()) {
      add(`${i}.sum`, [sum.length], sum);
      add(`${i}.second`, [sum.length, sum.length], second);
      add(`${i}.count`, [1], Float64Array.of(count));
    }
    const metadata = new Map([
      ['key', this.key],
      ['samples', String(samples)],
    ]);
    await writeSafetensors(this.#file(pass), tensors, metadata, { replace: true });
    const spent = performance.now() - begun;
    this.#due = performance.now() + Math.max(INTERVAL_MS, (spent * WORKING_SHARE) / (1 - WORKING_SHARE));
  }

  async clear(): Promise<void> {
    for (const name of await readdir(this.folder)) {
      if (PartialSums.owns(name)) await rm(join(this.folder, name), { force: true });
    }
  }

  #file(pass: number): string {
    return join(this.folder, `pass-${pass}.safetensors`);
  }
}

/**
 * Keeps sums beside the output while `use` runs, and afterwards if the same calibration may resume.
 */
export async function withPartialSums<T>(
  out: string,
  key: string,
  signal: AbortSignal | undefined,
  use: (partial: PartialSums) => Promise<T>,
): Promise<T> {
  const folder = await folderBeside(out, 'sums');
  const partial = new PartialSums(folder, key);
  const lock = await lockFolder(folder);
  let keep = false;
  try {
    return await use(partial);
  } catch (cause) {
    keep = signal?.aborted === true || isTransient(cause);
    throw cause;
  } finally {
    if (!keep) await partial.clear();
    await lock.release();
    if (!keep) await leaveFolder(folder);
  }
}
