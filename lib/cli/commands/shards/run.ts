import { type Command, InvalidArgumentError } from 'commander';
import { isCompressPlan } from '../../../shards/compress-plan.js';
import { type CompressShardReport, runCompressShard } from '../../../shards/compress-shard.js';
import { runShard, type ShardReport } from '../../../shards/run-shard.js';
import { formatBytes, formatSeconds } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { byteSize } from '../../byte-size.js';
import { Interrupted } from '../../interrupt.js';
import { printResult, runJob } from '../../job.js';
import { jsonOption, wrongUsage } from '../../options.js';
import { RESUME_HINT } from '../../resume-hint.js';
import { ProgressLine } from '../../terminal/progress.js';
import type { Output, Terminal } from '../../terminal/terminal.js';
import { type Shard, shardOfEnvironment } from './shard.js';

interface RunFlags {
  readonly shard?: Shard;
  readonly source?: string;
  readonly memory?: number;
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
    .option('--memory <size>', 'most memory for the decompositions of a compression, such as 8GB', byteSize)
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((plan: string, flags: RunFlags) => runRun(plan, flags, terminal));
}

async function runRun(plan: string, flags: RunFlags, terminal: Terminal): Promise<void> {
  const chosen = flags.shard ?? shardOfEnvironment(process.env);
  if (chosen === undefined) {
    throw wrongUsage('missing shard: pass --shard i/n, or run it as an array job of Slurm or Kubernetes');
  }
  const job = {
    progress: new ProgressLine(terminal.err),
    interrupted: new Interrupted('interrupted, finished results are kept', RESUME_HINT),
  };
  const { source, memory } = flags;
  if (await isCompressPlan(plan)) {
    const report = await runJob(terminal, {
      ...job,
      work: (signal, onProgress) =>
        runCompressShard(plan, { ...chosen, source, maxMemory: memory, signal, onProgress }),
    });
    return printResult(terminal, flags, report, () => printCompressReport(report, terminal.out));
  }
  if (memory !== undefined) throw wrongUsage('--memory: the plan of an edit has its own limit');
  const report = await runJob(terminal, {
    ...job,
    work: (signal, onProgress) => runShard(plan, { ...chosen, source, signal, onProgress }),
  });
  printResult(terminal, flags, report, () => printReport(report, terminal.out));
}

function printReport({ shard, shards, tasks, results, seconds }: ShardReport, output: Output): void {
  const computed = tasks.filter((task) => task.computed);
  const bytes = tasks.reduce((sum, task) => sum + task.bytes, 0);
  output.lines([
    `shard ${shard} of ${shards}: ${tasks.length} ${tasks.length === 1 ? 'task' : 'tasks'} (${formatBytes(bytes)}), ${tasks.length - computed.length} already done`,
    `results in ${printable(results)}, ${formatSeconds(seconds)}`,
  ]);
}

function printCompressReport({ shard, shards, tasks, results, seconds }: CompressShardReport, output: Output): void {
  const done = tasks.filter((task) => !task.computed).length;
  output.lines([
    `shard ${shard} of ${shards}: ${tasks.length} ${tasks.length === 1 ? 'decomposition' : 'decompositions'}, ${done} already done`,
    `results in ${printable(results)}, ${formatSeconds(seconds)}`,
  ]);
}

function parseShard(text: string): Shard {
  const [, shard, shards] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const chosen = { shard: Number(shard), shards: Number(shards) };
  if (chosen.shard >= 1 && chosen.shard <= chosen.shards) return chosen;
  throw new InvalidArgumentError('Expected i/n with i from 1 to n, such as 1/8.');
}
