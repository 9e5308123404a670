import type { Command } from 'commander';
import { type ExpandedLayer, type ExpandReport, expandCheckpoint } from '../../compress/expand.js';
import { formatShape } from '../../text/format.js';
import { printResult, runJob } from '../job.js';
import { jsonOption, requireOut, threadsOption } from '../options.js';
import { describeOutput } from '../terminal/output-summary.js';
import { ProgressLine } from '../terminal/progress.js';
import { type Column, formatTable } from '../terminal/table.js';
import type { Terminal } from '../terminal/terminal.js';

interface ExpandFlags {
  readonly out?: string;
  readonly threads?: number;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank expand llama-small -o llama-dense
  lowrank expand smaller.onnx -o dense.onnx`;

/** `lowrank expand`: multiplies the factors of a compressed checkpoint out again. */
export function defineExpand(command: Command, terminal: Terminal): void {
  command
    .argument('<model>', 'what `lowrank compress` wrote; never modified')
    .option('-o, --out <path>', 'output, a file or a folder as the model is; must not exist')
    .addOption(threadsOption('number of threads'))
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: ExpandFlags) => runExpand(model, flags, terminal));
}

async function runExpand(model: string, flags: ExpandFlags, terminal: Terminal): Promise<void> {
  const { json, out: path, ...options } = flags;
  const out = requireOut(path);
  const report = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    work: (signal, onProgress) => expandCheckpoint(model, out, { ...options, signal, onProgress }),
  });
  printResult(terminal, flags, report, () => printReport(report, terminal));
}

const COLUMNS: readonly Column[] = [
  { title: 'weight', names: true },
  { title: 'type' },
  { title: 'shape' },
  { title: 'rank', align: 'right' },
];

function printReport(report: ExpandReport, { out: output }: Terminal): void {
  const { layers, seconds } = report;
  output.lines(formatTable(COLUMNS, layers.map(rowOf), output.columns, output.colors.bold));
  output.lines([`${layers.length} weights multiplied out`, ...describeOutput(report, seconds, output)]);
}

function rowOf({ name, dtype, shape, rank }: ExpandedLayer): string[] {
  return [name, dtype, formatShape(shape), String(rank)];
}
