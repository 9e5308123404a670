import { type Command, Option } from 'commander';
import type { Storage } from '../compress/allocate.js';
import { byteSize } from './byte-size.js';
import { decimal } from './options.js';

/** Flags that decide what becomes of a compressed model. */
export interface CompressChoiceFlags {
  readonly keep?: number;
  readonly size?: number;
  readonly maxKl?: number;
  readonly calibration?: string;
  readonly uncalibrated?: boolean;
  readonly storage?: Storage;
  readonly texts?: string;
  readonly inputs?: string;
  readonly heads?: boolean;
}

/** Adds them to a command. */
export function addCompressOptions(command: Command): Command {
  return command
    .option('--keep <share>', 'share of the numbers of the linear layers to keep, such as 0.9', decimal)
    .option('--size <size>', 'most bytes of the weight files, such as 60MB', byteSize)
    .option('--max-kl <nats>', 'most divergence from the outputs of the original, measured on --texts', decimal)
    .option('--calibration <file>', 'moments of the inputs of the layers (safetensors, or an imatrix of llama.cpp)')
    .option('--uncalibrated', 'compress without moments, which ruins most models')
    .addOption(
      new Option('--storage <form>', 'form of the factors in the file (default: pivoted)').choices([
        'pivoted',
        'factors',
      ]),
    )
    .option('--texts <file>', 'texts to try ranks on, other than those of the calibration')
    .option('--inputs <file>', 'inputs to try ranks on (.safetensors), as for calibrate')
    .option('--heads', 'compress heads and classifiers too');
}

/** Picks these flags from those of a command that has more. */
export function compressChoices(flags: CompressChoiceFlags): CompressChoiceFlags {
  const { keep, size, maxKl, calibration, uncalibrated, storage, texts, inputs, heads } = flags;
  return { keep, size, maxKl, calibration, uncalibrated, storage, texts, inputs, heads };
}

/** Whether the flags name a budget, so that a job of several kinds is a compression. */
export function isCompression({ keep, size, maxKl }: CompressChoiceFlags): boolean {
  return keep !== undefined || size !== undefined || maxKl !== undefined;
}
