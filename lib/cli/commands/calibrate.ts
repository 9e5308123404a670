import type { Command } from 'commander';
import { type CalibrateReport, calibrate } from '../../compress/calibrate.js';
import { formatSeconds } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import { byteSize } from '../byte-size.js';
import { printResult, runJob } from '../job.js';
import { jsonOption, requireOut, threadsOption, wholeNumber } from '../options.js';
import { ProgressLine } from '../terminal/progress-line.js';
import type { Terminal } from '../terminal/terminal.js';

interface CalibrateFlags {
  readonly out?: string;
  readonly texts?: string;
  readonly inputs?: string;
  readonly samples?: number;
  readonly length?: number;
  readonly allInputs?: boolean;
  readonly memory?: number;
  readonly threads?: number;
  readonly peers?: string;
  readonly json?: boolean;
}

interface Counted {
  readonly done: number;
  readonly total: number;
}

const EXAMPLES = `
Examples:
  lowrank calibrate my-model/model.onnx --texts texts.txt -o moments.safetensors
  lowrank calibrate model.onnx --inputs tensors.safetensors -o moments.safetensors --samples 64`;

/** `lowrank calibrate`: runs a model and writes the moments of the inputs of its layers. */
export function defineCalibrate(command: Command, terminal: Terminal): void {
  command
    .argument('<model>', '.onnx file, or a folder with one; never modified')
    .option('-o, --out <path>', 'output .safetensors file; must not exist')
    .option(
      '--texts <file>',
      'texts to run: documents separated by blank lines, or one a line, or lines of JSON {"text": "..."}',
    )
    .option('--inputs <file>', 'inputs to run (.safetensors): a tensor for each, its first dimension counts samples')
    .option('--samples <n>', 'most samples to run (default: 256)', wholeNumber(1))
    .option('--length <n>', 'most tokens of a text (default: 256)', wholeNumber(1))
    .option('--all-inputs', 'keep moments of all inputs, for few bits (the default, if they fit into --memory)')
    .option('--no-all-inputs', 'keep those of outputs where they are smaller: enough for factors')
    .option('--memory <size>', 'most memory for sums, such as 2GB; more passes if needed', byteSize)
    .addOption(threadsOption('number of threads'))
    .option('--peers <folder>', 'where onnxruntime-node and @huggingface/tokenizers are installed')
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: CalibrateFlags) => runCalibrate(model, flags, terminal));
}

async function runCalibrate(model: string, flags: CalibrateFlags, terminal: Terminal): Promise<void> {
  const { json, out: path, memory, ...options } = flags;
  const out = requireOut(path);
  const report = await runJob(terminal, {
    progress: new ProgressLine(terminal.err, ({ done, total }: Counted) => `${done} of ${total} samples`),
    work: (signal, onProgress) => calibrate(model, out, { ...options, maxMemory: memory, signal, onProgress }),
  });
  printResult(terminal, flags, report, () => printReport(report, flags, terminal));
}

function printReport(
  { samples, vectors, sums, layers, byOutputs, unseen, passes, out, seconds }: CalibrateReport,
  flags: CalibrateFlags,
  terminal: Terminal,
): void {
  const { out: output } = terminal;
  const again = passes === 1 ? '' : ` in ${passes} passes`;
  output.lines([
    `${samples} samples, ${vectors} vectors; ${sums} sums for ${layers} layers${again}`,
    ...(byOutputs.length === 0 || flags.allInputs === false
      ? []
      : [`moments of outputs for ${byOutputs.length} layers, for factors alone: --all-inputs keeps those of inputs`]),
    ...(unseen.length === 0 ? [] : [`without vectors: ${unseen.map(printable).join(', ')}`]),
    `${output.colors.green('wrote')} ${printable(out)} in ${formatSeconds(seconds)}`,
  ]);
}
