import { CALL_OPTIONS, type CallOptions } from '../addon/call.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { boolean, checkOptions, number, type OptionTypes, oneOf, text } from '../options.js';
import { type EditProgress, JOB_OPTIONS } from '../progress.js';
import type { Storage } from './allocate.js';
import { type Budget, checkBudget } from './budget.js';

/** What decides the bytes of a compressed model. */
export interface CompressChoices extends Budget {
  /** A file of moments of the layers' inputs, as `openMoments` reads it. */
  calibration?: string | undefined;
  /**
   * Compresses without moments, by the plain error of the weights. Decoders do not survive that.
   */
  uncalibrated?: boolean | undefined;
  /**
   * `pivoted` by default: smaller files at the same rank. `factors` for programs that do not fold
   * constants.
   */
  storage?: Storage | undefined;
  /**
   * Texts, or inputs, to try ranks on, as `calibrate` takes them; best others than those of the
   * calibration.
   */
  texts?: string | undefined;
  inputs?: string | undefined;
  /** Compresses heads and classifiers too. */
  heads?: boolean | undefined;
  /** Threads of one decomposition. */
  threads?: number | undefined;
}

export interface CompressOptions extends CompressChoices, Omit<CallOptions, 'onProgress' | 'threads'> {
  /** Where to look for onnxruntime-node and \@huggingface/tokenizers besides this package. */
  peers?: string | undefined;
  /** Bytes of memory that decompositions may use together; those that fit run side by side. */
  maxMemory?: number | undefined;
  /**
   * A folder for decompositions and measurements, which other jobs on the same model reuse. By
   * default they are kept beside the output until the job ends.
   */
  work?: string | undefined;
  /** Discards what an interrupted job has left, and what the work folder holds. */
  restart?: boolean | undefined;
  /** Chooses ranks and reports them, writes nothing. */
  dryRun?: boolean | undefined;
  onProgress?: ((progress: EditProgress) => void) | undefined;
}

/** The options that a plan keeps. */
export const COMPRESS_CHOICES: OptionTypes<CompressChoices> = {
  keep: number,
  size: number,
  maxKl: number,
  calibration: text,
  uncalibrated: boolean,
  storage: oneOf(['factors', 'pivoted']),
  texts: text,
  inputs: text,
  heads: boolean,
  threads: number,
};

const COMPRESS_OPTIONS: OptionTypes<CompressOptions> = {
  ...CALL_OPTIONS,
  ...JOB_OPTIONS,
  ...COMPRESS_CHOICES,
  peers: text,
  maxMemory: number,
  work: text,
  restart: boolean,
  dryRun: boolean,
};

/** @throws ArgumentError; as {@link checkChoices}. */
export function checkedOptions(options: CompressOptions, taker: string): CompressOptions {
  const given = checkOptions(options, COMPRESS_OPTIONS, taker);
  checkChoices(given);
  const { maxMemory } = given;
  if (maxMemory !== undefined && !(Number.isSafeInteger(maxMemory) && maxMemory > 0)) {
    throw new ArgumentError('maxMemory', 'a whole number of bytes above 0', maxMemory);
  }
  return given;
}

/** @throws ArgumentError; LowRankError `ERR_UNSUPPORTED` without moments unless `uncalibrated`. */
export function checkChoices(given: CompressChoices): void {
  checkBudget(given);
  const { calibration, uncalibrated, texts, inputs, maxKl } = given;
  if (texts !== undefined && inputs !== undefined) throw new ArgumentError('options', 'texts or inputs', 'both');
  if (maxKl !== undefined && texts === undefined && inputs === undefined) {
    throw new ArgumentError('maxKl', 'texts or inputs to measure it on', 'none');
  }
  if (calibration !== undefined || uncalibrated) return;
  throw new LowRankError('ERR_UNSUPPORTED', 'missing calibration: plain approximations of weights ruin most models', {
    hint: 'Make moments with `lowrank calibrate` and pass --calibration <file>, or insist with --uncalibrated.',
  });
}
