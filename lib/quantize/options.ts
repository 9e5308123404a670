import { CALL_OPTIONS, type CallOptions } from '../addon/call.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { boolean, checkOptions, number, type OptionTypes, oneOf, text, wholeNumber } from '../options.js';
import { type EditProgress, JOB_OPTIONS } from '../progress.js';

/**
 * What all matrices become: `q8`, int8 that inputs of 8 bits are multiplied by; `q4`, 4 bits in
 * blocks of 32.
 */
export type Preset = 'q8' | 'q4';

export interface QuantizeCheckpointOptions extends Omit<CallOptions, 'onProgress'> {
  /** One way for all matrices; otherwise `bits` or `size` chooses for each. */
  preset?: Preset | undefined;
  /** Bits a weight, scales and corrections included, that the matrices have on average. */
  bits?: number | undefined;
  /** The bytes of all weight files of the result. */
  size?: number | undefined;
  /**
   * A file of moments of the layers' inputs, as `calibrate` writes it with `allInputs`, or an
   * imatrix.
   */
  calibration?: string | undefined;
  /**
   * Texts, or inputs, to try choices on and to compare the result by, as `calibrate` takes them.
   */
  texts?: string | undefined;
  inputs?: string | undefined;
  /** Where to look for onnxruntime-node and \@huggingface/tokenizers besides this package. */
  peers?: string | undefined;
  /** Quantises heads and classifiers too. */
  heads?: boolean | undefined;
  /** Quantises embeddings too, by default unless `bits` is given, which then counts them. */
  embeddings?: boolean | undefined;
  /**
   * Corrects errors by low-rank factors, as far as the budget has a use for them; by default with a
   * calibration.
   */
  corrections?: boolean | undefined;
  /** Of MatMulNBits, 0 to 4: 4, the default, lets it round inputs to 8 bits, which is faster. */
  accuracyLevel?: number | undefined;
  /** Chooses and reports, writes nothing. */
  dryRun?: boolean | undefined;
  onProgress?: ((progress: EditProgress) => void) | undefined;
}

const OPTIONS: OptionTypes<QuantizeCheckpointOptions> = {
  ...CALL_OPTIONS,
  ...JOB_OPTIONS,
  preset: oneOf(['q8', 'q4']),
  bits: number,
  size: number,
  calibration: text,
  texts: text,
  inputs: text,
  peers: text,
  heads: boolean,
  embeddings: boolean,
  corrections: boolean,
  accuracyLevel: wholeNumber(0),
  dryRun: boolean,
};

/** @throws ArgumentError; LowRankError `ERR_UNSUPPORTED` for corrections without a calibration. */
export function checkedOptions(options: QuantizeCheckpointOptions): QuantizeCheckpointOptions {
  const given = checkOptions(options, OPTIONS, 'quantizeCheckpoint');
  const { preset, bits, size, texts, inputs, calibration, corrections, accuracyLevel } = given;
  const targets = [preset, bits, size].filter((value) => value !== undefined).length;
  if (targets !== 1) {
    throw new ArgumentError('options', 'exactly one of preset, bits and size', targets === 0 ? 'none' : 'several');
  }
  if (bits !== undefined && !(bits > 0 && bits <= 32)) {
    throw new ArgumentError('bits', 'a number above 0 and up to 32', bits);
  }
  if (size !== undefined && !(size > 0 && size < Number.POSITIVE_INFINITY)) {
    throw new ArgumentError('size', 'a number of bytes above 0', size);
  }
  if (texts !== undefined && inputs !== undefined) throw new ArgumentError('options', 'texts or inputs', 'both');
  if (accuracyLevel !== undefined && accuracyLevel > 4) {
    throw new ArgumentError('accuracyLevel', 'a whole number from 0 to 4', accuracyLevel);
  }
  if (corrections && preset !== undefined) {
    throw new ArgumentError('corrections', 'bits or size, which decide their ranks', preset);
  }
  if (corrections && calibration === undefined) {
    throw new LowRankError('ERR_UNSUPPORTED', 'corrections without a calibration bring next to nothing', {
      hint: 'Make moments with `lowrank calibrate --all-inputs` and pass them as the calibration.',
    });
  }
  return given;
}
