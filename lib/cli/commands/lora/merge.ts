import type { Command } from 'commander';
import { readAdapter } from '../../../adapters/files.js';
import {
  type ApplyPlan,
  type ApplyReport,
  applyLoras,
  type PlannedWeight,
  planLoras,
  type ScaledLora,
} from '../../../adapters/merge-checkpoint.js';
import type { WritableType } from '../../../tensor/dtype.js';
import { formatBytes, formatError, formatShape } from '../../../text/format.js';
import { printResult, runJob } from '../../job.js';
import {
  decimal,
  dryRunOption,
  jsonOption,
  quantOption,
  requireOut,
  restartOption,
  threadsOption,
  wrongUsage,
} from '../../options.js';
import { describeOutput } from '../../terminal/output-summary.js';
import { ProgressLine } from '../../terminal/progress.js';
import { type Column, formatTable } from '../../terminal/table.js';
import type { Terminal } from '../../terminal/terminal.js';
import { leavesNothing } from './options.js';

interface MergeFlags {
  readonly out?: string;
  readonly scale?: readonly number[];
  readonly quant?: WritableType;
  readonly threads?: number;
  readonly restart?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank lora merge base my-adapter -o merged
  lowrank lora merge base my-adapter -o half --scale 0.5
  lowrank lora merge base first second -o both --scale 1 --scale 0.3
  lowrank lora merge model.Q4_0.gguf adapter.gguf -o merged.gguf --quant Q8_0

Only the tensors that an adapter names change, in their own dtype; every other byte is copied.
To resume a killed merge, run the same command again.`;

/** `lowrank lora merge`: adds adapters to the weights of a checkpoint. */
export function defineMerge(command: Command, terminal: Terminal): void {
  command
    .argument('<checkpoint>', 'safetensors or GGUF file, or a folder; never modified')
    .argument('<adapters...>', 'adapter folders, or adapters in GGUF')
    .option('-o, --out <path>', 'output path; must not exist')
    .option(
      '--scale <s>',
      'factor for the updates; once for all adapters, or once for each in order',
      (text, earlier: readonly number[] | undefined) => [...(earlier ?? []), decimal(text)],
    )
    .addOption(quantOption('type in which to write quantised weights that get an update'))
    .addOption(threadsOption())
    .addOption(restartOption('killed'))
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((checkpoint: string, adapters: readonly string[], flags: MergeFlags) =>
      runMerge(checkpoint, adapters, flags, terminal),
    );
}

async function runMerge(
  checkpoint: string,
  paths: readonly string[],
  flags: MergeFlags,
  terminal: Terminal,
): Promise<void> {
  const { quant, threads, restart, scale: scales = [1] } = flags;
  if (scales.length !== 1 && scales.length !== paths.length) {
    throw wrongUsage(
      `got ${scales.length} --scale options for ${paths.length} adapters`,
      'Pass --scale once for all adapters, or once for each.',
    );
  }
  const readAll = async () => {
    const loras: ScaledLora[] = [];
    for (const [i, path] of paths.entries()) {
      loras.push({ adapter: await readAdapter(path), scale: scales[i] ?? scales[0]! });
    }
    return loras;
  };
  if (flags.dryRun) {
    const plan = await planLoras(checkpoint, await readAll(), { quant });
    printResult(terminal, flags, plan, () => printPlan(plan, terminal));
    return;
  }
  const out = requireOut(flags.out);
  const report = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    ...leavesNothing(out),
    work: async (signal, onProgress) =>
      applyLoras(checkpoint, await readAll(), out, { quant, threads, restart, signal, onProgress }),
  });
  printResult(terminal, flags, report, () => printReport(report, terminal));
}

const PLAN_COLUMNS: readonly Column[] = [
  { title: 'tensor', names: true },
  { title: 'shape' },
  { title: 'dtype' },
  { title: 'stored' },
  { title: 'rank', align: 'right' },
  { title: 'adapters', align: 'right' },
];
const COLUMNS: readonly Column[] = [...PLAN_COLUMNS, { title: 'relative change', align: 'right' }];

function describeWeight({ tensor, shape, dtype, writtenAs, transposed, rank, adapters }: PlannedWeight): string[] {
  const types = dtype === writtenAs ? dtype : `${dtype} to ${writtenAs}`;
  return [tensor, formatShape(shape), types, transposed ? 'in x out' : 'out x in', String(rank), String(adapters)];
}

function printPlan({ weights, output: { bytes } }: ApplyPlan, { out: output }: Terminal): void {
  const rows = weights.map(describeWeight);
  if (rows.length > 0) output.lines(formatTable(PLAN_COLUMNS, rows, output.columns, output.colors.bold));
  output.lines([
    `${weights.length} ${weights.length === 1 ? 'matrix' : 'matrices'}, nothing written`,
    `output ${formatBytes(bytes)}`,
  ]);
}

function printReport(report: ApplyReport, { out: output }: Terminal): void {
  const { bold } = output.colors;
  const rows = report.weights.map((weight) => [...describeWeight(weight), formatError(weight.relativeChange)]);
  if (rows.length > 0) output.lines(formatTable(COLUMNS, rows, output.columns, bold));
  output.lines(describeOutput(report, report.seconds, output));
}
