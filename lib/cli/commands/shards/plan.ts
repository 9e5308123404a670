import type { Command } from 'commander';
import { OPERATIONS_PER_SECOND } from '../../../compress/cost.js';
import { type CompressPlan, planCompression, writeCompressPlan } from '../../../shards/compress-plan.js';
import { type JobPlan, planJob, writePlan } from '../../../shards/job-plan.js';
import { formatBytes, formatSeconds } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import {
  addCompressOptions,
  type CompressChoiceFlags,
  compressChoices,
  isCompression,
} from '../../compress-options.js';
import { addEditOptions, type EditFlags, planOptions } from '../../edit-options.js';
import { printResult } from '../../job.js';
import { requireOut, wholeNumber, wrongUsage } from '../../options.js';
import { printSkipped } from '../../terminal/globs.js';
import type { Output, Terminal } from '../../terminal/terminal.js';

interface PlanFlags extends EditFlags, CompressChoiceFlags {
  readonly shards?: number;
  readonly file: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank plan llama -o llama-laser --at all:mlp:0.1 --shards 8 -f plan.json
  lowrank run plan.json --shard 1/8
  lowrank merge plan.json

  lowrank plan model.onnx -o smaller.onnx --keep 0.9 --calibration moments.safetensors --shards 8

The editing options are those of lowrank laser. With --size, --bits, --keep or --max-kl it plans a compression,
whose options are those of lowrank compress.`;

/** `lowrank plan`: writes the plan of a job for many machines. */
export function definePlan(command: Command, terminal: Terminal): void {
  addCompressOptions(addEditOptions(command))
    .option('--shards <n>', 'number of parts to plan for', wholeNumber(1))
    .option('-f, --file <path>', 'plan file; replaces an older plan', 'plan.json')
    .option('--json', 'print the plan on standard output too')
    .addHelpText('after', EXAMPLES)
    .action((checkpoint: string, flags: PlanFlags) => runPlan(checkpoint, flags, terminal));
}

async function runPlan(checkpoint: string, flags: PlanFlags, terminal: Terminal): Promise<void> {
  if (isCompression(flags)) return planOfCompression(checkpoint, flags, terminal);
  const { shards, file } = flags;
  const options = planOptions(flags);
  const plan = await planJob(checkpoint, requireOut(flags.out), { ...options, shards });
  await writePlan(file, plan);
  printSkipped(plan.skipped, 'matrices', terminal.err);
  printResult(terminal, flags, plan, () => printPlan(plan, file, terminal.out));
}

async function planOfCompression(checkpoint: string, flags: PlanFlags, terminal: Terminal): Promise<void> {
  const { shards, file, threads, at, tensor } = flags;
  if (at !== undefined || tensor !== undefined) {
    throw wrongUsage('--size, --bits, --keep and --max-kl compress the model, --at and --tensor edit it: choose one');
  }
  const choices = { ...compressChoices(flags), threads };
  const plan = await planCompression(checkpoint, requireOut(flags.out), { ...choices, shards });
  await writeCompressPlan(file, plan);
  printResult(terminal, flags, plan, () => printCompressPlan(plan, file, terminal.out));
}

function printCompressPlan({ tasks, shards, choices }: CompressPlan, file: string, output: Output): void {
  const memory = Math.max(...tasks.map((task) => task.memory));
  const seconds = tasks.reduce((sum, { cost }) => sum + cost, 0) / OPERATIONS_PER_SECOND;
  output.lines([
    `${tasks.length} ${tasks.length === 1 ? 'decomposition' : 'decompositions'} for ${shards} ${shards === 1 ? 'shard' : 'shards'}, ${choices.threads} threads each, up to ${formatBytes(memory)} of memory`,
    `about ${formatSeconds(seconds)} of one core`,
    `wrote ${printable(file)}`,
  ]);
}

function printPlan({ tasks, output: copy, shards, settings }: JobPlan, file: string, output: Output): void {
  const bytes = tasks.reduce((sum, task) => sum + task.bytes, 0);
  output.lines([
    `${tasks.length} ${tasks.length === 1 ? 'task' : 'tasks'} (${formatBytes(bytes)}) for ${shards} ${shards === 1 ? 'shard' : 'shards'}, ${settings.threads} threads each`,
    ...(copy === undefined ? [] : [`output ${formatBytes(copy.bytes)}`]),
    `wrote ${printable(file)}`,
  ]);
}
