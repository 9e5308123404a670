import type { Command } from 'commander';
import { mergeShards } from '../../../shards/merge.js';
import { readPlan } from '../../../shards/plan.js';
import { interruptible } from '../../interrupt.js';
import { withResumeHint } from '../../resume-hint.js';
import { describeOutput } from '../../terminal/output-summary.js';
import { ProgressLine } from '../../terminal/progress.js';
import type { Terminal } from '../../terminal/terminal.js';

interface MergeFlags {
  readonly out?: string;
  readonly source?: string;
  readonly restart?: boolean;
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
    .option('--restart', 'discard the unfinished work of a stopped job and start again')
    .option('--json', 'print one JSON document on standard output')
    .addHelpText('after', EXAMPLES)
    .action((plan: string, flags: MergeFlags) => runMerge(plan, flags, terminal));
}

async function runMerge(plan: string, { json, ...options }: MergeFlags, terminal: Terminal): Promise<void> {
  const progress = new ProgressLine(terminal.err);
  let report: Awaited<ReturnType<typeof mergeShards>>;
  try {
    report = await interruptible(
      (signal) => mergeShards(plan, { ...options, signal, onProgress: progress.show }),
      (again) => {
        progress.end();
        if (!again) terminal.err.lines(['stopping; press Ctrl-C again to stop at once']);
      },
    );
  } catch (error) {
    progress.end();
    const out = options.out ?? (await readPlan(plan).catch(() => undefined))?.out;
    throw out === undefined ? error : await withResumeHint(error, out, terminal);
  } finally {
    progress.end();
  }
  if (json) {
    terminal.out.lines([JSON.stringify(report, null, 2)]);
    return;
  }
  const { edits, kernels } = report;
  if (kernels.length > 1) {
    terminal.err.lines([`results come from different kernels: ${kernels.join(', ')}; see docs/many-machines.md`]);
  }
  terminal.out.lines([
    `${edits.length} ${edits.length === 1 ? 'matrix' : 'matrices'}, all results verified`,
    ...describeOutput(report, report.seconds, terminal.out),
  ]);
}
