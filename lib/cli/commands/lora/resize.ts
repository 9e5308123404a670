import { type Command, Option } from 'commander';
import { readAdapter, requireNewOutput, writeAdapter } from '../../../adapters/files.js';
import { type ResizedModule, resizeLora } from '../../../adapters/resize.js';
import type { LoraRankChoice } from '../../../adapters/truncate.js';
import type { WritableType } from '../../../tensor/dtype.js';
import { formatError, formatSeconds, formatShape, formatShare } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { printResult, runJob } from '../../job.js';
import { decimal, jsonOption, requireOut, wholeNumber } from '../../options.js';
import { ProgressLine } from '../../terminal/progress.js';
import { sparkline } from '../../terminal/sparkline.js';
import { type Column, formatTable } from '../../terminal/table.js';
import type { Terminal } from '../../terminal/terminal.js';
import { DTYPES, leavesNothing, requireOne } from './options.js';
import { warnOfShortfall } from './shortfall.js';

interface ResizeFlags {
  readonly out?: string;
  readonly rank?: number;
  readonly energy?: number;
  readonly ratio?: number;
  readonly dtype?: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank lora resize my-adapter -o smaller --rank 4
  lowrank lora resize my-adapter -o smaller --energy 0.95
  lowrank lora resize my-adapter -o smaller --ratio 0.05 --dtype f16`;

/** `lowrank lora resize`: reduces the rank of an adapter. */
export function defineResize(command: Command, terminal: Terminal): void {
  command
    .argument('<adapter>', 'adapter folder or adapter in GGUF; never modified')
    .option('-o, --out <path>', 'output path: a folder, or a GGUF file; must not exist')
    .option('--rank <r>', 'maximum rank', wholeNumber(1))
    .option('--energy <e>', 'smallest rank that keeps this share of the energy, such as 0.9', decimal)
    .option('--ratio <x>', 'keep singular values of at least x times the largest, such as 0.05', decimal)
    .addOption(
      new Option('--dtype <dtype>', 'type of the factors, q8_0 only in GGUF; default: unchanged').choices(DTYPES),
    )
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((adapter: string, flags: ResizeFlags) => runResize(adapter, flags, terminal));
}

async function runResize(path: string, flags: ResizeFlags, terminal: Terminal): Promise<void> {
  const out = requireOut(flags.out);
  const { rank, energy, ratio } = requireOne(flags, ['rank', 'energy', 'ratio']);
  const choice = { rank, energy, ratio } as LoraRankChoice;
  const dtype = flags.dtype?.toUpperCase() as WritableType | undefined;
  const started = performance.now();
  const { modules, shortfall } = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    ...leavesNothing(out),
    work: async (signal) => {
      await requireNewOutput(out);
      const resized = await resizeLora(await readAdapter(path), { ...choice, dtype, signal });
      await writeAdapter(resized.adapter, out, { signal });
      return resized;
    },
  });
  const seconds = (performance.now() - started) / 1000;
  warnOfShortfall(shortfall, 'the update', terminal);
  const document = { source: path, out, modules, shortfall, seconds };
  printResult(terminal, flags, document, () => printModules(modules, out, seconds, terminal));
}

const COLUMNS: readonly Column[] = [
  { title: 'module', names: true },
  { title: 'update (out x in)' },
  { title: 'rank', align: 'right' },
  { title: 'energy kept', align: 'right' },
  { title: 'relative error', align: 'right' },
  { title: 'singular values' },
];

function printModules(
  modules: readonly ResizedModule[],
  out: string,
  seconds: number,
  { out: output }: Terminal,
): void {
  const { bold, green } = output.colors;
  const rows = modules.map((module) => [
    module.name,
    formatShape(module.shape),
    `${module.rank} of ${module.rankBefore}`,
    formatShare(module.keptEnergy),
    formatError(module.relativeError),
    sparkline(module.singularValues),
  ]);
  if (rows.length > 0) output.lines(formatTable(COLUMNS, rows, output.columns, bold));
  output.lines([`${green('wrote')} ${printable(out)} in ${formatSeconds(seconds)}`]);
}
