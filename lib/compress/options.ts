import { CALL_OPTIONS, type CallOptions } from '../addon/call.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { boolean, checkOptions, number, type OptionTypes, oneOf, text, wholeNumber } from '../options.js';
import { type EditProgress, JOB_OPTIONS } from '../progress.js';
import { type Budget, checkBudget, requireOne } from './budget.js';
import { DTYPES, type Dtype } from './dtype-folder.js';
import type { Ways } from './matrices.js';
import type { Storage } from './ranks.js';

/** What decides the bytes of a compressed model. */
export interface CompressChoices extends Budget {
  /** A file of moments of the layers' inputs, as `openMoments` reads it. */
  calibration?: string | undefined;
  /**
   * Makes factors without moments, by the plain error of the weights. Decoders do not survive that.
   */
  uncalibrated?: boolean | undefined;
  /** No numbers of few bits: float factors alone, as always with `keep` and for safetensors. */
  float?: boolean | undefined;
  /**
   * `pivoted` by default: smaller files at the same rank. `factors` for programs that do not fold
   * constants.
   */
  storage?: Storage | undefined;
  /**
   * Texts, or inputs, to try choices on, as `calibrate` takes them; best others than those of the
   * calibration.
   */
  texts?: string | undefined;
  inputs?: string | undefined;
  /** Compresses heads and classifiers too. */
  heads?: boolean | undefined;
  /**
   * Stores embeddings in few bits too, by default unless `bits` is given, which then counts them,
   * or `latency`, of which they take next to nothing.
   */
  embeddings?: boolean | undefined;
  /**
   * Corrects the errors of few bits by low-rank factors, as far as the budget has a use for them;
   * by default with a calibration.
   */
  corrections?: boolean | undefined;
  /** Of MatMulNBits, 0 to 4: 4, the default, lets it round inputs to 8 bits, which is faster. */
  accuracyLevel?: number | undefined;
  /** Threads of one decomposition. */
  threads?: number | undefined;
}

/**
 * What all matrices become: `q8`, int8 that inputs of 8 bits are multiplied by; `q4`, 4 bits in
 * blocks of 32.
 */
export type Preset = 'q8' | 'q4';

export interface CompressOptions extends CompressChoices, Omit<CallOptions, 'onProgress' | 'threads'> {
  /** One way for all matrices, in place of a budget. */
  preset?: Preset | undefined;
  /**
   * In place of a budget: the share of the time that the layers take now, above 0 and up to 1, by
   * what kernels of onnxruntime-node take on this machine with `threads`.
   */
  latency?: number | undefined;
  /** With `latency`: the tokens that a layer multiplies at once, 128 by default. */
  tokens?: number | undefined;
  /**
   * Writes a folder for transformers.js, which loads the model with this `dtype`: the small files
   * of the source's folder, and the model as `onnx/model_<dtype>.onnx`.
   */
  dtype?: Dtype | undefined;
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
  /** Chooses and reports, writes nothing. */
  dryRun?: boolean | undefined;
  onProgress?: ((progress: EditProgress) => void) | undefined;
}

/** The options that a plan keeps. */
export const COMPRESS_CHOICES: OptionTypes<CompressChoices> = {
  keep: number,
  size: number,
  bits: number,
  maxKl: number,
  calibration: text,
  uncalibrated: boolean,
  float: boolean,
  storage: oneOf(['factors', 'pivoted']),
  texts: text,
  inputs: text,
  heads: boolean,
  embeddings: boolean,
  corrections: boolean,
  accuracyLevel: wholeNumber(0),
  threads: number,
};

const COMPRESS_OPTIONS: OptionTypes<CompressOptions> = {
  ...CALL_OPTIONS,
  ...JOB_OPTIONS,
  ...COMPRESS_CHOICES,
  preset: oneOf(['q8', 'q4']),
  latency: number,
  tokens: wholeNumber(1),
  dtype: oneOf(DTYPES),
  peers: text,
  maxMemory: number,
  work: text,
  restart: boolean,
  dryRun: boolean,
};

/**
 * @throws ArgumentError; LowRankError `ERR_UNSUPPORTED` for the preset q4f16; as
 *   {@link checkChoices}.
 */
export function checkedOptions(options: CompressOptions, taker: string): CompressOptions {
  if ((options as { readonly preset?: unknown } | undefined)?.preset === 'q4f16') throw noHalfPreset();
  const given = checkOptions(options, COMPRESS_OPTIONS, taker);
  const { preset, latency, tokens, maxMemory } = given;
  requireOne(given, 'preset', 'latency');
  if (preset !== undefined) checkPreset(preset, given);
  else if (latency === undefined) checkChoices(given);
  else checkOthers(given);
  if (latency !== undefined && !(latency > 0 && latency <= 1)) {
    throw new ArgumentError('latency', 'a number above 0 and up to 1', latency);
  }
  if (tokens !== undefined && latency === undefined)
    throw new ArgumentError('tokens', 'left out without latency', tokens);
  if (maxMemory !== undefined && !(Number.isSafeInteger(maxMemory) && maxMemory > 0)) {
    throw new ArgumentError('maxMemory', 'a whole number of bytes above 0', maxMemory);
  }
  return given;
}

function noHalfPreset(): LowRankError {
  const why = 'float16 activations make the file hardly smaller, and slower where processors compute in float32';
  return new LowRankError('ERR_UNSUPPORTED', `preset q4f16: ${why}`, {
    hint: 'Use q4, whose scales are float16; docs/quantising.md says how to convert the rest for a GPU.',
  });
}

function checkPreset(preset: Preset, given: CompressOptions): void {
  const { corrections, float } = given;
  if (float) throw new ArgumentError('float', `left out with the preset ${preset}`, float);
  if (corrections) throw new ArgumentError('corrections', 'a size or bits, which decide their ranks', preset);
  checkOthers(given);
}

/** @throws ArgumentError; LowRankError `ERR_UNSUPPORTED` without moments unless `uncalibrated`. */
export function checkChoices(given: CompressChoices): void {
  requireOne(given);
  checkBudget(given);
  checkOthers(given);
  const { texts, inputs, maxKl } = given;
  if (maxKl !== undefined && texts === undefined && inputs === undefined) {
    throw new ArgumentError('maxKl', 'texts or inputs to measure it on', 'none');
  }
}

function checkOthers(given: CompressChoices): void {
  const { keep, float, calibration, texts, inputs, corrections, accuracyLevel } = given;
  if (texts !== undefined && inputs !== undefined) throw new ArgumentError('options', 'texts or inputs', 'both');
  if (accuracyLevel !== undefined && accuracyLevel > 4) {
    throw new ArgumentError('accuracyLevel', 'a whole number from 0 to 4', accuracyLevel);
  }
  if (keep !== undefined || float) {
    const coded = givenAmong(given, 'embeddings', 'corrections', 'accuracyLevel');
    if (coded !== undefined) throw new ArgumentError(coded, 'left out where all numbers stay floats', given[coded]);
    requireMoments(given);
  }
  if (corrections && calibration === undefined) {
    throw new LowRankError('ERR_UNSUPPORTED', 'corrections without a calibration bring next to nothing', {
      hint: 'Make moments with `lowrank calibrate` and pass them as the calibration.',
    });
  }
}

/** The first of these options that is given, and not switched off. */
function givenAmong<Name extends keyof CompressOptions>(options: CompressOptions, ...names: Name[]): Name | undefined {
  return names.find((name) => options[name] !== undefined && options[name] !== false);
}

/**
 * @throws LowRankError `ERR_UNSUPPORTED` without moments unless `uncalibrated`: factors need them.
 */
export function requireMoments({ calibration, uncalibrated }: CompressChoices): void {
  if (calibration !== undefined || uncalibrated) return;
  throw new LowRankError('ERR_UNSUPPORTED', 'missing calibration: plain approximations of weights ruin most models', {
    hint: 'Make moments with `lowrank calibrate` and pass --calibration <file>, or insist with --uncalibrated.',
  });
}

/**
 * What the matrices of a checkpoint may become by these options.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` for few bits in other formats than ONNX; as
 *   {@link requireMoments}.
 */
export function waysFor({ path, format, graph }: Checkpoint, options: CompressOptions): Ways {
  const {
    keep,
    bits,
    latency,
    preset,
    calibration,
    uncalibrated,
    float = false,
    storage = 'pivoted',
    heads = false,
  } = options;
  const coded = givenAmong(options, 'preset', 'latency', 'bits', 'embeddings', 'corrections', 'accuracyLevel');
  if (graph === undefined) {
    if (coded !== undefined) {
      throw new LowRankError('ERR_UNSUPPORTED', `${path}: ${format} files cannot hold weights of few bits`, {
        hint: `Export the model to ONNX, or leave out ${coded} and give a share or a size.`,
      });
    }
    requireMoments(options);
  }
  const codes = graph !== undefined && keep === undefined && !float;
  const factors = preset === undefined && (calibration !== undefined || uncalibrated === true);
  return {
    heads,
    embeddings: codes && (options.embeddings ?? (bits ?? latency) === undefined),
    storage: factors ? storage : undefined,
    codes,
  };
}
