import { type Command, Option } from 'commander';
import type { CompressChoices } from '../compress/options.js';
import { byteSize } from './byte-size.js';
import { decimal, wholeNumber } from './options.js';

/** Flags that decide what becomes of a compressed model. */
export type CompressChoiceFlags = Readonly<Omit<CompressChoices, 'threads'>>;

/** Adds them to a command. */
export function addCompressOptions(command: Command): Command {
  return command
    .option('--size <size>', 'most bytes of the weight files, such as 25MB', byteSize)
    .option('--bits <number>', 'bits a weight, with scales and factors, such as 4.5 (ONNX)', decimal)
    .option(
      '--keep <share>',
      'share of the numbers of the linear layers to keep in float factors, such as 0.9',
      decimal,
    )
    .option('--max-kl <nats>', 'most divergence from the outputs of the original, measured on --texts', decimal)
    .option('--calibration <file>', 'moments of the inputs of the layers (safetensors, or an imatrix of llama.cpp)')
    .option('--uncalibrated', 'make factors without moments, which ruins most models')
    .option('--float', 'float factors alone, no numbers of few bits')
    .addOption(
      new Option('--storage <form>', 'form of the factors in the file (default: pivoted)').choices([
        'pivoted',
        'factors',
      ]),
    )
    .option('--texts <file>', 'texts to try choices on, other than those of the calibration')
    .option('--inputs <file>', 'inputs to try choices on (.safetensors), as for calibrate')
    .option('--heads', 'compress heads and classifiers too')
    .option('--embeddings', 'store embeddings in few bits too (the default, except with --bits)')
    .option('--no-embeddings', 'leave embeddings as they are')
    .option('--corrections', 'correct errors of few bits by low-rank factors (the default, with a calibration)')
    .option('--no-corrections', 'write no low-rank factors beside few bits')
    .option('--accuracy-level <n>', 'of MatMulNBits: 4 lets it round inputs to 8 bits', wholeNumber(0));
}

/** Picks these flags from those of a command that has more. */
export function compressChoices(flags: CompressChoiceFlags): CompressChoiceFlags {
  const { keep, size, bits, maxKl, calibration, uncalibrated, float, storage, texts, inputs, heads } = flags;
  const { embeddings, corrections, accuracyLevel } = flags;
  const common = { keep, size, bits, maxKl, calibration, uncalibrated, float, storage, texts, inputs, heads };
  return { ...common, embeddings, corrections, accuracyLevel };
}

/** Whether the flags name a budget, so that a job of several kinds is a compression. */
export function isCompression({ keep, size, bits, maxKl }: CompressChoiceFlags): boolean {
  return [keep, size, bits, maxKl].some((value) => value !== undefined);
}
