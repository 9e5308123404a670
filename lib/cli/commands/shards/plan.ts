import type { Command } from 'commander';
import { type JobPlan, planJob, writePlan } from '../../../shards/job-plan.js';
import { formatBytes } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { addEditOptions, type EditFlags, planOptions } from '../../edit-options.js';
import { printResult } from '../../job.js';
import { requireOut, wholeNumber } from '../../options.js';
import { printSkipped } from '../../terminal/globs.js';
import type { Output, Terminal } from '../../terminal/terminal.js';

interface PlanFlags extends EditFlags {
  readonly shards?: number;
  readonly file: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank plan llama -o llama-laser --at all:mlp:0.1 --shards 8 -f plan.json
  lowrank run plan.json --shard 1/8
  lowrank merge plan.json

The editing options are those of lowrank laser.`;

/** `lowrank plan`: writes the plan of a job for many machines. */
export function definePlan(command: Command, terminal: Terminal): void {
  addEditOptions(command)
    .option('--shards <n>', 'number of parts to plan for', wholeNumber(1))
    .option('-f, --file <path>', 'plan file; replaces an older plan', 'plan.json')
    .option('--json', 'print the plan on standard output too')
    .addHelpText('after', EXAMPLES)
    .action((checkpoint: string, flags: PlanFlags) => runPlan(checkpoint, flags, terminal));
}

async function runPlan(checkpoint: string, flags: PlanFlags, terminal: Terminal): Promise<void> {
  const { shards, file } = flags;
  const options = planOptions(flags);
  const plan = await planJob(checkpoint, requireOut(flags.out), { ...options, shards });
  await writePlan(file, plan);
  printSkipped(plan.skipped, 'matrices', terminal.err);
  printResult(terminal, flags, plan, () => printPlan(plan, file, terminal.out));
}

function printPlan({ tasks, output: copy, shards, settings }: JobPlan, file: string, output: Output): void {
  const bytes = tasks.reduce((sum, task) => sum + task.bytes, 0);
  output.lines([
    `${tasks.length} ${tasks.length === 1 ? 'task' : 'tasks'} (${formatBytes(bytes)}) for ${shards} ${shards === 1 ? 'shard' : 'shards'}, ${settings.threads} threads each`,
    ...(copy === undefined ? [] : [`output ${formatBytes(copy.bytes)}`]),
    `wrote ${printable(file)}`,
  ]);
}
