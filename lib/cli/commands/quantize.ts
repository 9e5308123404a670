import { type Command, Option } from 'commander';
import type { Preset } from '../../quantize/options.js';
import { type QuantizedLayer, type QuantizeReport, quantizeCheckpoint } from '../../quantize/quantize.js';
import { formatBytes, formatError, formatShape } from '../../text/format.js';
import { byteSize } from '../byte-size.js';
import { printResult, runJob } from '../job.js';
import { decimal, dryRunOption, jsonOption, requireOut, threadsOption, wholeNumber } from '../options.js';
import { describeCheck } from '../terminal/output-change.js';
import { describeOutput } from '../terminal/output-summary.js';
import { ProgressLine } from '../terminal/progress.js';
import { type Column, formatTable } from '../terminal/table.js';
import type { Terminal } from '../terminal/terminal.js';

interface QuantizeFlags {
  readonly out?: string;
  readonly preset?: Preset;
  readonly bits?: number;
  readonly size?: number;
  readonly calibration?: string;
  readonly texts?: string;
  readonly inputs?: string;
  readonly peers?: string;
  readonly heads?: boolean;
  readonly embeddings?: boolean;
  readonly corrections?: boolean;
  readonly accuracyLevel?: number;
  readonly threads?: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank quantize model.onnx -o small.onnx --size 15MB --calibration moments.safetensors
  lowrank quantize model.onnx -o small.onnx --bits 4.5 --calibration moments.safetensors --texts texts.txt
  lowrank quantize model.onnx -o model_q8.onnx --preset q8`;

/** `lowrank quantize`: writes a model whose matrices are whole numbers of a few bits. */
export function defineQuantize(command: Command, terminal: Terminal): void {
  command
    .argument('<model>', '.onnx file, or a folder with one; never modified')
    .option('-o, --out <path>', 'output path; must not exist')
    .addOption(new Option('--preset <name>', 'one way for all matrices').choices(['q8', 'q4']))
    .option('--bits <number>', 'bits a weight, with scales and corrections, such as 4.5', decimal)
    .option('--size <size>', 'largest size of the files, such as 15MB', byteSize)
    .option('--calibration <file>', 'moments of the inputs of the layers, made with calibrate --all-inputs')
    .option('--texts <file>', 'texts to try choices on, other than those of the calibration')
    .option('--inputs <file>', 'inputs to try choices on (.safetensors), as for calibrate')
    .option('--peers <folder>', 'where onnxruntime-node and @huggingface/tokenizers are installed')
    .option('--heads', 'quantise heads and classifiers too')
    .option('--embeddings', 'quantise embeddings (the default, except with --bits)')
    .option('--no-embeddings', 'leave embeddings as they are')
    .option('--corrections', 'correct errors by low-rank factors (the default, with a calibration)')
    .option('--no-corrections', 'write no low-rank factors')
    .option('--accuracy-level <n>', 'of MatMulNBits: 4 lets it round inputs to 8 bits', wholeNumber(0))
    .addOption(threadsOption())
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: QuantizeFlags) => runQuantize(model, flags, terminal));
}

async function runQuantize(model: string, flags: QuantizeFlags, terminal: Terminal): Promise<void> {
  const { json: _, out: path, ...options } = flags;
  const out = flags.dryRun ? undefined : requireOut(path, ' or --dry-run');
  const report = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    work: (signal, onProgress) => quantizeCheckpoint(model, out, { ...options, signal, onProgress }),
  });
  const { err } = terminal;
  for (const name of report.withoutMoments) {
    err.lines([`rounded without moments of its inputs: ${name} (calibrate --all-inputs makes them)`]);
  }
  for (const { name, why } of report.leftOut) err.lines([`left as it is: ${name}: ${why}`]);
  printResult(terminal, flags, report, () => printReport(report, terminal));
}

const COLUMNS: readonly Column[] = [
  { title: 'matrix' },
  { title: 'out x in' },
  { title: 'stored' },
  { title: 'bits', align: 'right' },
  { title: 'error', align: 'right' },
];

function printReport(report: QuantizeReport, { out: output }: Terminal): void {
  const { layers, bits, bytes, check } = report;
  output.lines(formatTable(COLUMNS, layers.map(rowOf), output.columns, output.colors.bold));
  output.lines([
    `${bits.before.toFixed(2)} -> ${bits.after.toFixed(2)} bits a weight in ${layers.length} matrices`,
    `weights ${formatBytes(bytes.before)} -> ${formatBytes(bytes.after)}`,
    ...(check === undefined ? [] : [describeCheck(check)]),
    ...(report.output === undefined ? ['nothing written'] : describeOutput(report.output, report.seconds, output)),
  ]);
}

function rowOf({ name, shape, description, bytes, error }: QuantizedLayer): string[] {
  const [m, n] = shape;
  return [
    name,
    formatShape(shape),
    description,
    ((8 * bytes) / (m * n)).toFixed(2),
    description === 'dense' ? '' : formatError(error),
  ];
}
