import { type Command, Option } from 'commander';
import type { ExtractChoice } from '../../../adapters/extract.js';
import {
  type ExtractedLora,
  type ExtractPlan,
  extractLora,
  planExtract,
} from '../../../adapters/extract-checkpoints.js';
import { requireNewOutput, writeAdapter } from '../../../adapters/files.js';
import type { Method } from '../../../lowrank/approximate.js';
import type { WritableType } from '../../../tensor/dtype.js';
import { formatBytes, formatError, formatSeconds, formatShape, formatShare } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { printResult, runJob } from '../../job.js';
import {
  collect,
  decimal,
  dryRunOption,
  familyOption,
  jsonOption,
  methodOption,
  requireOut,
  seedOption,
  threadsOption,
  wholeNumber,
} from '../../options.js';
import { GLOBS, printSkipped } from '../../terminal/globs.js';
import { ProgressLine } from '../../terminal/progress.js';
import { type Column, formatTable } from '../../terminal/table.js';
import type { Output, Terminal } from '../../terminal/terminal.js';
import { DTYPES, leavesNothing, requireOne } from './options.js';
import { warnOfShortfall } from './shortfall.js';

interface ExtractFlags {
  readonly out?: string;
  readonly rank?: number;
  readonly energy?: number;
  readonly tensor?: readonly string[];
  readonly family?: string;
  readonly fanInFanOut?: boolean;
  readonly dtype: string;
  readonly baseName?: string;
  readonly method: Method;
  readonly seed?: number;
  readonly threads?: number;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank lora extract base tuned -o my-adapter --rank 16
  lowrank lora extract base tuned -o my-adapter --energy 0.9 --dtype bf16
  lowrank lora extract base tuned -o my-adapter --rank 8 --tensor '*.mlp.*'

${GLOBS}
Tensors that differ but do not fit into an adapter (norms, biases, embeddings) are listed at the end.`;

/** `lowrank lora extract`: makes an adapter from the difference of two checkpoints. */
export function defineExtract(command: Command, terminal: Terminal): void {
  command
    .argument('<base>', 'safetensors or GGUF file, or a folder')
    .argument('<tuned>', 'the same model after training')
    .option('-o, --out <path>', 'output path: a folder, or a GGUF file; must not exist')
    .option('--rank <r>', 'rank of each module', wholeNumber(1))
    .option('--energy <e>', 'smallest rank that keeps this share of the energy, such as 0.9', decimal)
    .option(
      '--tensor <glob>',
      "only tensors whose names match; default: the layers' matrices; may be repeated",
      collect,
    )
    .addOption(familyOption())
    .option('--fan-in-fan-out', 'matrices are stored [in, out]; needed if neither family nor shapes tell')
    .option('--no-fan-in-fan-out', 'matrices are stored [out, in]')
    .addOption(new Option('--dtype <dtype>', 'type of the factors; q8_0 only in GGUF').choices(DTYPES).default('f32'))
    .option('--base-name <name>', 'name of the base model in the adapter; default: its path as given')
    .addOption(methodOption())
    .addOption(seedOption('seed for the random start of krylov'))
    .addOption(threadsOption())
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((base: string, tuned: string, flags: ExtractFlags) => runExtract(base, tuned, flags, terminal));
}

async function runExtract(base: string, tuned: string, flags: ExtractFlags, terminal: Terminal): Promise<void> {
  const { rank, energy } = requireOne(flags, ['rank', 'energy']);
  const choice = (rank === undefined ? { energy } : { rank }) as ExtractChoice;
  const { tensor: tensors, family, fanInFanOut, baseName, method, seed, threads } = flags;
  const dtype = flags.dtype.toUpperCase() as WritableType;
  const options = { ...choice, tensors, family, fanInFanOut, baseName, dtype, method, seed, threads };
  if (flags.dryRun) {
    const plan = await planExtract(base, tuned, options);
    printSkipped(plan.skipped, 'weight matrices of modules', terminal.err);
    printResult(terminal, flags, { base, tuned, ...plan }, () => printPlan(plan, terminal.out));
    return;
  }
  const out = requireOut(flags.out);
  const extracted = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    ...leavesNothing(out),
    work: async (signal, onProgress) => {
      // With --energy, ranks are known only afterwards.
      const mostBytes = rank === undefined ? 0 : (await planExtract(base, tuned, options)).output.mostBytes;
      await requireNewOutput(out, mostBytes);
      const result = await extractLora(base, tuned, { ...options, signal, onProgress });
      await writeAdapter(result.adapter, out, { signal });
      return result;
    },
  });
  const { adapter: _, ...report } = extracted;
  printSkipped(report.skipped, 'weight matrices of modules', terminal.err);
  warnOfShortfall(report.shortfall, 'the difference', terminal);
  printResult(terminal, flags, { base, tuned, out, ...report }, () => printReport(extracted, out, terminal));
}

const PLAN_COLUMNS: readonly Column[] = [
  { title: 'module', names: true },
  { title: 'weight' },
  { title: 'rank', align: 'right' },
];

function printPlan({ modules, output: { mostBytes } }: ExtractPlan, output: Output): void {
  const rows = modules.map(({ name, shape, rank }) => [name, formatShape(shape), `${rank} of ${Math.min(...shape)}`]);
  if (rows.length > 0) output.lines(formatTable(PLAN_COLUMNS, rows, output.columns, output.colors.bold));
  output.lines([
    `${modules.length} ${modules.length === 1 ? 'module' : 'modules'}, nothing written`,
    `output at most ${formatBytes(mostBytes)}`,
  ]);
}

const COLUMNS: readonly Column[] = [
  { title: 'module', names: true },
  { title: 'weight' },
  { title: 'rank', align: 'right' },
  { title: 'energy kept', align: 'right' },
  { title: 'relative error', align: 'right' },
  { title: 'method' },
  { title: 'seconds', align: 'right' },
];

/** Most names to show of a list that may be as long as the checkpoint. */
const SHOWN = 5;

function printReport(
  { modules, unchanged, uncovered, seconds }: ExtractedLora,
  out: string,
  { out: output }: Terminal,
): void {
  const { bold, green, yellow } = output.colors;
  const rows = modules.map((module) => [
    module.name,
    formatShape(module.shape),
    `${module.rank} of ${Math.min(...module.shape)}`,
    formatShare(module.keptEnergy),
    formatError(module.relativeError),
    module.certificate.method,
    module.certificate.seconds.toFixed(2),
  ]);
  output.lines(formatTable(COLUMNS, rows, output.columns, bold));
  if (unchanged.length > 0)
    output.lines([`${unchanged.length} of the selected matrices are equal in both checkpoints`]);
  if (uncovered.length > 0) {
    const named = uncovered.slice(0, SHOWN).map(({ tensor, reason }) => `  ${printable(tensor)} (${reason})`);
    const rest = uncovered.length > SHOWN ? [`  and ${uncovered.length - SHOWN} more; --json lists all`] : [];
    output.lines([`${yellow('not in the adapter')}, although they differ:`, ...named, ...rest]);
  }
  output.lines([`${green('wrote')} ${printable(out)} in ${formatSeconds(seconds)}`]);
}
