import type { Command } from 'commander';
import { LowRankError } from '../../../errors.js';
import { planJob, writePlan } from '../../../shards/plan.js';
import { formatBytes } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { wholeNumber } from '../../options.js';
import { printSkipped } from '../../terminal/globs.js';
import type { Terminal } from '../../terminal/terminal.js';
import { addEditOptions, CHECKPOINT, type EditFlags, planOptions } from '../laser.js';

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
  addEditOptions(command.argument('<checkpoint>', CHECKPOINT))
    .option('--shards <n>', 'number of parts to plan for', wholeNumber(1))
    .option('-f, --file <path>', 'plan file; replaces an older plan', 'plan.json')
    .option('--json', 'print the plan on standard output too')
    .addHelpText('after', EXAMPLES)
    .action((checkpoint: string, flags: PlanFlags) => runPlan(checkpoint, flags, terminal));
}

async function runPlan(checkpoint: string, flags: PlanFlags, terminal: Terminal): Promise<void> {
  const { out, shards, file } = flags;
  const options = planOptions(flags);
  if (out === undefined) throw new LowRankError('ERR_ARGUMENT', 'missing output path: pass -o <path>');
  const plan = await planJob(checkpoint, out, { ...options, shards });
  await writePlan(file, plan);
  printSkipped(plan.skipped, 'matrices', terminal.err);
  if (flags.json) {
    terminal.out.lines([JSON.stringify(plan, null, 2)]);
    return;
  }
  const { tasks, output } = plan;
  const bytes = tasks.reduce((sum, task) => sum + task.bytes, 0);
  terminal.out.lines([
    `${tasks.length} ${tasks.length === 1 ? 'task' : 'tasks'} (${formatBytes(bytes)}) for ${plan.shards} ${plan.shards === 1 ? 'shard' : 'shards'}, ${plan.settings.threads} threads each`,
    ...(output === undefined ? [] : [`output ${formatBytes(output.bytes)}`]),
    `wrote ${printable(file)}`,
  ]);
}
