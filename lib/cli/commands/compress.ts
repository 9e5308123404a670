import { type Command, Option } from 'commander';
import type { LayerLatency } from '../../compress/choose.js';
import { compressCheckpoint } from '../../compress/compress.js';
import { DTYPES, type Dtype } from '../../compress/dtype-folder.js';
import type { Preset } from '../../compress/options.js';
import type { CompressedLayer, CompressReport } from '../../compress/report.js';
import { formatBytes, formatError, formatShape, formatShare } from '../../text/format.js';
import { byteSize } from '../byte-size.js';
import { addCompressOptions, type CompressChoiceFlags } from '../compress-options.js';
import { Interrupted } from '../interrupt.js';
import { printResult, runJob } from '../job.js';
import {
  decimal,
  dryRunOption,
  jsonOption,
  requireOut,
  restartOption,
  threadsOption,
  wholeNumber,
} from '../options.js';
import { RESUME_HINT } from '../resume-hint.js';
import { describeCheck } from '../terminal/output-change.js';
import { describeOutput } from '../terminal/output-summary.js';
import { ProgressLine } from '../terminal/progress.js';
import { type Column, formatTable } from '../terminal/table.js';
import type { Terminal } from '../terminal/terminal.js';

interface CompressFlags extends CompressChoiceFlags {
  readonly out?: string;
  readonly preset?: Preset;
  readonly latency?: number;
  readonly tokens?: number;
  readonly dtype?: Dtype;
  readonly peers?: string;
  readonly memory?: number;
  readonly work?: string;
  readonly restart?: boolean;
  readonly threads?: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank compress model.onnx -o smaller.onnx --size 25MB --calibration moments.safetensors
  lowrank compress model.onnx -o smaller.onnx --bits 4.5 --calibration moments.safetensors --texts held-out.txt
  lowrank compress model.onnx -o smaller.onnx --max-kl 0.05 --calibration moments.safetensors --texts held-out.txt
  lowrank compress model.onnx -o model_q8.onnx --preset q8
  lowrank compress my-model -o my-model-q4 --preset q4 --dtype q4
  lowrank compress model.onnx --keep 0.8 --calibration moments.safetensors --dry-run

To resume an interrupted job, run the same command again.`;

/** `lowrank compress`: writes a model whose matrices are factors, or whole numbers of few bits. */
export function defineCompress(command: Command, terminal: Terminal): void {
  const taken = command
    .argument('<model>', '.onnx file, or a folder with one or with safetensors; never modified')
    .option('-o, --out <path>', 'output path; must not exist');
  addCompressOptions(taken)
    .addOption(
      new Option('--preset <name>', 'one way for all matrices (ONNX)')
        .choices(['q8', 'q4'])
        // The library knows why others are refused.
        .argParser((name) => name),
    )
    .option('--latency <share>', 'share of the time of the layers, by kernels timed here, such as 0.8 (ONNX)', decimal)
    .option('--tokens <n>', 'with --latency: tokens that are multiplied at once (default: 128)', wholeNumber(1))
    .addOption(
      new Option('--dtype <name>', 'write a folder for transformers.js, with onnx/model_<name>.onnx').choices(DTYPES),
    )
    .option('--peers <folder>', 'where onnxruntime-node and @huggingface/tokenizers are installed')
    .option('--memory <size>', 'most memory for decompositions, such as 8GB', byteSize)
    .option('--work <folder>', 'keeps decompositions there, for other budgets of the same model')
    .addOption(restartOption())
    .addOption(threadsOption())
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: CompressFlags) => runCompress(model, flags, terminal));
}

async function runCompress(model: string, flags: CompressFlags, terminal: Terminal): Promise<void> {
  const { json, out: path, memory, ...options } = flags;
  const out = flags.dryRun ? undefined : requireOut(path, ' or --dry-run');
  const kept = out !== undefined || flags.work !== undefined;
  const report = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    ...(kept && { interrupted: new Interrupted('interrupted, finished decompositions are kept', RESUME_HINT) }),
    work: (signal, onProgress) => compressCheckpoint(model, out, { ...options, maxMemory: memory, signal, onProgress }),
  });
  printCompression(report, flags, terminal);
}

/** Prints what was done, with warnings. */
export function printCompression(
  report: CompressReport,
  flags: { readonly json?: boolean | undefined },
  terminal: Terminal,
): void {
  warn(report, terminal);
  printResult(terminal, flags.json ? { json: true } : {}, report, () => printReport(report, terminal));
}

/** Fewer vectors than this for each input of a layer cost quality. */
const ENOUGH_VECTORS = 20;

function warn({ layers, calibrated, vectorsPerInput, withoutMoments, leftOut }: CompressReport, { err }: Terminal) {
  if (!calibrated && layers.some(({ use, stored }) => use === 'linear' && stored.kind === 'blocks')) {
    err.lines(['warning: without --calibration weights are rounded by their own error (calibrate makes one)']);
  }
  if (vectorsPerInput !== undefined && vectorsPerInput < ENOUGH_VECTORS) {
    const have = vectorsPerInput.toPrecision(2);
    err.lines([`warning: only ${have} vectors of calibration for each input; ${ENOUGH_VECTORS} are enough`]);
  }
  const coded = new Set(layers.map(({ name }) => name));
  for (const name of withoutMoments) {
    const what = coded.has(name) ? 'rounded by the error of its weight' : 'left dense';
    err.lines([`${what}, the calibration has no moments of its inputs: ${name} (calibrate --all-inputs makes them)`]);
  }
  for (const { name, why } of leftOut) err.lines([`left as it is: ${name}: ${why}`]);
}

const COLUMNS: readonly Column[] = [
  { title: 'matrix', names: true },
  { title: 'out x in' },
  { title: 'stored' },
  { title: 'bits', align: 'right' },
  { title: 'error', align: 'right' },
];

function printReport(report: CompressReport, { out: output }: Terminal): void {
  const { layers, parameters, multiplications, bits, bytes, latency } = report;
  output.lines(formatTable(COLUMNS, layers.map(rowOf), output.columns, output.colors.bold));
  const linear = layers.filter(({ use }) => use === 'linear').length;
  const factored = layers.filter(({ stored }) => stored.kind === 'factors').length;
  output.lines([
    `${bits.before.toFixed(2)} -> ${bits.after.toFixed(2)} bits a weight in ${layers.length} matrices`,
    ...(factored === 0
      ? []
      : [
          `${factored} of ${linear} layers factored: ${shareOf(parameters)} of the numbers, ${shareOf(multiplications)} of the multiplications`,
        ]),
    ...(latency === undefined ? [] : [describeLatency(latency)]),
    `weights ${formatBytes(bytes.before)} -> ${formatBytes(bytes.after)}`,
    ...(report.check === undefined ? [] : [describeCheck(report.check)]),
    ...(report.output === undefined ? ['nothing written'] : describeOutput(report.output, report.seconds, output)),
  ]);
}

function describeLatency({ tokens, before, after }: LayerLatency): string {
  return `layers ${before.toFixed(2)} -> ${after.toFixed(2)} ms for ${tokens} tokens, by their kernels alone`;
}

function shareOf({ before, after }: { readonly before: number; readonly after: number }): string {
  return formatShare(after / before);
}

function rowOf({ name, shape, stored, description, bytes, error }: CompressedLayer): string[] {
  const [m, n] = shape;
  return [
    name,
    formatShape(shape),
    description,
    ((8 * bytes) / (m * n)).toFixed(2),
    stored.kind === 'dense' ? '' : formatError(error),
  ];
}
