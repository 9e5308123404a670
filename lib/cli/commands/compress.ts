import type { Command } from 'commander';
import { type CompressedLayer, type CompressReport, compressCheckpoint } from '../../compress/compress.js';
import { formatBytes, formatError, formatShape, formatShare } from '../../text/format.js';
import { byteSize } from '../byte-size.js';
import { addCompressOptions, type CompressChoiceFlags } from '../compress-options.js';
import { Interrupted } from '../interrupt.js';
import { printResult, runJob } from '../job.js';
import { dryRunOption, jsonOption, requireOut, restartOption, threadsOption } from '../options.js';
import { RESUME_HINT } from '../resume-hint.js';
import { describeCheck } from '../terminal/output-change.js';
import { describeOutput } from '../terminal/output-summary.js';
import { ProgressLine } from '../terminal/progress.js';
import { type Column, formatTable } from '../terminal/table.js';
import type { Terminal } from '../terminal/terminal.js';

interface CompressFlags extends CompressChoiceFlags {
  readonly out?: string;
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
  lowrank compress model.onnx -o smaller.onnx --keep 0.9 --calibration moments.safetensors
  lowrank compress model.onnx -o smaller.onnx --size 60MB --calibration moments.safetensors --texts held-out.txt
  lowrank compress model.onnx --keep 0.8 --calibration moments.safetensors --dry-run

To resume an interrupted job, run the same command again.`;

/** `lowrank compress`: writes a model whose linear layers are factors. */
export function defineCompress(command: Command, terminal: Terminal): void {
  const taken = command
    .argument('<model>', '.onnx file, or a folder with one or with safetensors; never modified')
    .option('-o, --out <path>', 'output path; must not exist');
  addCompressOptions(taken)
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
  const { layers, parameters, multiplications, bytes } = report;
  output.lines(formatTable(COLUMNS, layers.map(rowOf), output.columns, output.colors.bold));
  const factored = layers.filter(({ rank }) => rank !== undefined).length;
  output.lines([
    `${factored} of ${layers.length} layers factored: ${shareOf(parameters)} of their numbers, ${shareOf(multiplications)} of their multiplications`,
    `weights ${formatBytes(bytes.before)} -> ${formatBytes(bytes.after)}`,
    ...(report.check === undefined ? [] : [describeCheck(report.check)]),
    ...(report.output === undefined ? ['nothing written'] : describeOutput(report.output, report.seconds, output)),
  ]);
}

function shareOf({ before, after }: { readonly before: number; readonly after: number }): string {
  return formatShare(after / before);
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
