import type { Command } from 'commander';
import { isCompressPlan } from '../../../shards/compress-plan.js';
import { mergeCompression } from '../../../shards/compress-shard.js';
import { readPlan } from '../../../shards/job-plan.js';
import { type MergeShardsReport, mergeShards } from '../../../shards/merge-shards.js';
import { printResult, runJob } from '../../job.js';
import { jsonOption, restartOption, wrongUsage } from '../../options.js';
import { describeOutput } from '../../terminal/output-summary.js';
import { ProgressLine } from '../../terminal/progress.js';
import type { Terminal } from '../../terminal/terminal.js';
import { printCompression } from '../compress.js';

interface MergeFlags {
  readonly out?: string;
  readonly source?: string;
  readonly restart?: boolean;
  readonly peers?: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank merge plan.json
  lowrank merge plan.json -o llama-laser-2

Every result is verified against its digest and against the source before anything is written.`;

/** `lowrank merge`: assembles the results of all shards. */
export function defineMerge(command: Command, terminal: Terminal): void {
  command
    .argument('<plan>', 'file written by `lowrank plan`')
    .option('-o, --out <path>', 'output path; default: the one in the plan')
    .option('--source <path>', 'path of the checkpoint on this machine; default: the one in the plan')
    .option('--peers <folder>', 'where onnxruntime-node and @huggingface/tokenizers are installed, for a compression')
    .addOption(restartOption())
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((plan: string, flags: MergeFlags) => runMerge(plan, flags, terminal));
}

async function runMerge(plan: string, { json, peers, ...options }: MergeFlags, terminal: Terminal): Promise<void> {
  if (await isCompressPlan(plan)) {
    const { restart, ...paths } = options;
    if (restart) throw wrongUsage('--restart: merging a compression leaves nothing to discard');
    const report = await runJob(terminal, {
      progress: new ProgressLine(terminal.err),
      work: (signal, onProgress) => mergeCompression(plan, { ...paths, peers, signal, onProgress }),
    });
    return printCompression(report, { json }, terminal);
  }
  const report = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    resumes: async () => options.out ?? (await readPlan(plan).catch(() => undefined))?.out,
    work: (signal, onProgress) => mergeShards(plan, { ...options, signal, onProgress }),
  });
  printResult(terminal, { json }, report, () => printReport(report, terminal));
}

function printReport(report: MergeShardsReport, { out, err }: Terminal): void {
  const { edits, kernels } = report;
  if (kernels.length > 1) {
    err.lines([`results come from different kernels: ${kernels.join(', ')}; see docs/many-machines.md`]);
  }
  out.lines([
    `${edits.length} ${edits.length === 1 ? 'matrix' : 'matrices'}, all results verified`,
    ...describeOutput(report, report.seconds, out),
  ]);
}
