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

Shards may run anywhere and in any order. What one has done is not done again, so a stopped one is simply run again.`;

/** `lowrank run`: one shard of a plan. */
export function addRunCommand(program: Command, terminal: Terminal): void {
  program
    .command('run')
    .description('do one shard of a plan')
    .argument('<plan>', 'the file that `lowrank plan` wrote; results go to a folder beside it')
    .option('--shard <i/n>', 'which part, from 1/n to n/n; by default as Slurm or Kubernetes says', parseShard)
    .option('--source <path>', 'where the checkpoint lies here, if not where it was planned')
    .option('--json', 'print one JSON document on standard output')
    .addHelpText('after', EXAMPLES)
    .action((plan: string, flags: RunFlags) => runRun(plan, flags, terminal));
}

async function runRun(plan: string, flags: RunFlags, terminal: Terminal): Promise<void> {
  const chosen = flags.shard ?? shardOfEnvironment(process.env);
  if (chosen === undefined) {
    throw new LowRankError(
      'ERR_ARGUMENT',
      'which shard is not said: give --shard i/n, or run it as an array of Slurm or Kubernetes',
    );
  }
  const progress = new ProgressLine(terminal.err);
  let report: ShardReport;
  try {
    report = await interruptible(
      (signal) => runShard(plan, { ...chosen, source: flags.source, signal, onProgress: progress.show }),
      (again) => {
        progress.end();
        if (!again) terminal.err.lines(['stopping; once more to stop at once']);
      },
    );
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    throw new Interrupted('interrupted, finished results are kept', 'the same command does the rest');
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
    `shard ${shard} of ${shards}: ${tasks.length} ${tasks.length === 1 ? 'task' : 'tasks'} (${formatBytes(bytes)}), ${tasks.length - computed.length} of them done before`,
    `results in ${printable(results)}, ${formatSeconds(seconds)}`,
  ]);
}

function parseShard(text: string): Shard {
  const [, shard, shards] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const chosen = { shard: Number(shard), shards: Number(shards) };
  if (chosen.shard >= 1 && chosen.shard <= chosen.shards) return chosen;
  throw new InvalidArgumentError('Expected i/n with i from 1 to n, such as 1/8.');
}
