import { type Command, InvalidArgumentError } from 'commander';
import { LowRankError } from '../../../errors.js';
import { runShard, type ShardReport } from '../../../shards/run.js';
import { formatBytes, formatSeconds } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { Interrupted, interruptible } from '../../interrupt.js';
import { ProgressLine } from '../../terminal/progress.js';
import type { Terminal } from '../../terminal/terminal.js';
import { type Shard, shardOfEnvironment } from './shard.js';

interface RunFlags {
  readonly shard?: Shard;
  readonly source?: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank run plan.json --shard 1/8
  lowrank run /shared/plan.json
  lowrank run plan.json --shard 3/8 --source /local/llama

Shards may run anywhere and in any order. To resume a stopped shard, run the same command again.`;

/** `lowrank run`: runs one shard of a plan. */
export function defineRun(command: Command, terminal: Terminal): void {
  command
    .argument('<plan>', 'file written by `lowrank plan`; results go to a folder beside it')
    .option('--shard <i/n>', 'shard to run, from 1/n to n/n; default: taken from Slurm or Kubernetes', parseShard)
    .option('--source <path>', 'path of the checkpoint on this machine; default: the one in the plan')
    .option('--json', 'print one JSON document on standard output')
    .addHelpText('after', EXAMPLES)
    .action((plan: string, flags: RunFlags) => runRun(plan, flags, terminal));
}

async function runRun(plan: string, flags: RunFlags, terminal: Terminal): Promise<void> {
  const chosen = flags.shard ?? shardOfEnvironment(process.env);
  if (chosen === undefined) {
    throw new LowRankError(
      'ERR_ARGUMENT',
      'missing shard: pass --shard i/n, or run it as an array job of Slurm or Kubernetes',
    );
  }
  const progress = new ProgressLine(terminal.err);
  let report: ShardReport;
  try {
    report = await interruptible(
      (signal) => runShard(plan, { ...chosen, source: flags.source, signal, onProgress: progress.show }),
      (again) => {
        progress.end();
        if (!again) terminal.err.lines(['stopping; press Ctrl-C again to stop at once']);
      },
    );
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    throw new Interrupted('interrupted, finished results are kept', 'run the same command again to resume');
  } finally {
    progress.end();
  }
  if (flags.json) {
    terminal.out.lines([JSON.stringify(report, null, 2)]);
    return;
  }
  const { shard, shards, tasks, results, seconds } = report;
  const computed = tasks.filter((task) => task.computed);
  const bytes = tasks.reduce((sum, task) => sum + task.bytes, 0);
  terminal.out.lines([
    `shard ${shard} of ${shards}: ${tasks.length} ${tasks.length === 1 ? 'task' : 'tasks'} (${formatBytes(bytes)}), ${tasks.length - computed.length} already done`,
    `results in ${printable(results)}, ${formatSeconds(seconds)}`,
  ]);
}

function parseShard(text: string): Shard {
  const [, shard, shards] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const chosen = { shard: Number(shard), shards: Number(shards) };
  if (chosen.shard >= 1 && chosen.shard <= chosen.shards) return chosen;
  throw new InvalidArgumentError('Expected i/n with i from 1 to n, such as 1/8.');
}
