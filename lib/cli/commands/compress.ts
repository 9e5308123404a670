import { type Command, Option } from 'commander';
import { type CompressedLayer, type CompressReport, compressCheckpoint } from '../../compress/compress.js';
import { formatError, formatShape, formatShare } from '../../text/format.js';
import { printResult, runJob } from '../job.js';
import { decimal, dryRunOption, jsonOption, requireOut, threadsOption } from '../options.js';
import { describeOutput } from '../terminal/output-summary.js';
import { ProgressLine } from '../terminal/progress.js';
import { type Column, formatTable } from '../terminal/table.js';
import type { Terminal } from '../terminal/terminal.js';

interface CompressFlags {
  readonly out?: string;
  readonly keep: number;
  readonly calibration?: string;
  readonly uncalibrated?: boolean;
  readonly storage?: 'factors' | 'pivoted';
  readonly texts?: string;
  readonly inputs?: string;
  readonly peers?: string;
  readonly heads?: boolean;
  readonly threads?: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank compress model.onnx -o smaller.onnx --keep 0.9 --calibration moments.safetensors
  lowrank compress model.onnx --keep 0.8 --calibration moments.safetensors --dry-run`;

/** `lowrank compress`: writes a model whose linear layers are factors. */
export function defineCompress(command: Command, terminal: Terminal): void {
  command
    .argument('<model>', '.onnx file, or a folder with one; never modified')
    .option('-o, --out <path>', 'output path; must not exist')
    .requiredOption('--keep <share>', 'share of the numbers of the linear layers to keep, such as 0.9', decimal)
    .option('--calibration <file>', 'moments of the inputs of the layers (safetensors, or an imatrix of llama.cpp)')
    .option('--uncalibrated', 'compress without moments, which ruins most models')
    .addOption(
      new Option('--storage <form>', 'form of the factors in the file')
        .choices(['pivoted', 'factors'])
        .default('pivoted'),
    )
    .option('--texts <file>', 'texts to try ranks on, other than those of the calibration')
    .option('--inputs <file>', 'inputs to try ranks on (.safetensors), as for calibrate')
    .option('--peers <folder>', 'where onnxruntime-node and @huggingface/tokenizers are installed')
    .option('--heads', 'compress heads and classifiers too')
    .addOption(threadsOption())
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: CompressFlags) => runCompress(model, flags, terminal));
}

async function runCompress(model: string, flags: CompressFlags, terminal: Terminal): Promise<void> {
  const { json, out: path, ...options } = flags;
  const out = flags.dryRun ? undefined : requireOut(path, ' or --dry-run');
  const report = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    work: (signal, onProgress) => compressCheckpoint(model, out, { ...options, signal, onProgress }),
  });
  warn(report, terminal);
  printResult(terminal, flags, report, () => printReport(report, terminal));
}

/** Fewer vectors than this for each input of a layer cost quality. */
const ENOUGH_VECTORS = 20;

function warn({ vectorsPerInput, withoutMoments, leftOut }: CompressReport, { err }: Terminal): void {
  if (vectorsPerInput !== undefined && vectorsPerInput < ENOUGH_VECTORS) {
    const have = vectorsPerInput.toPrecision(2);
    err.lines([`warning: only ${have} vectors of calibration for each input; ${ENOUGH_VECTORS} are enough`]);
  }
  for (const name of withoutMoments) err.lines([`left dense, the calibration has no moments: ${name}`]);
  for (const { name, why } of leftOut) err.lines([`left dense: ${name}: ${why}`]);
}

const COLUMNS: readonly Column[] = [
  { title: 'layer' },
  { title: 'out x in' },
  { title: 'rank', align: 'right' },
  { title: 'size', align: 'right' },
  { title: 'error', align: 'right' },
];

function printReport(report: CompressReport, { out: output }: Terminal): void {
  const { layers, parameters } = report;
  output.lines(formatTable(COLUMNS, layers.map(rowOf), output.columns, output.colors.bold));
  const factored = layers.filter(({ rank }) => rank !== undefined).length;
  output.lines([
    `${factored} of ${layers.length} layers factored, ${formatShare(parameters.after / parameters.before)} of their numbers`,
    ...(report.output === undefined ? ['nothing written'] : describeOutput(report.output, report.seconds, output)),
  ]);
}

function rowOf({ name, shape, rank, parameters, error }: CompressedLayer): string[] {
  const [m, n] = shape;
  return [
    name,
    formatShape(shape),
    rank === undefined ? 'dense' : `${rank} of ${Math.min(m, n)}`,
    formatShare(parameters / (m * n)),
    rank === undefined ? '' : formatError(error),
  ];
}
