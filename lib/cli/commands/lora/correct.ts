import { type Command, Option } from 'commander';
import { requireNewOutput, writeAdapter } from '../../../adapters/files.js';
import { type Correction, correctQuantization } from '../../../compress/correct.js';
import type { WritableType } from '../../../tensor/dtype.js';
import { formatBytes, formatError, formatSeconds, formatShape, formatShare } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { printResult, runJob } from '../../job.js';
import {
  collect,
  familyOption,
  jsonOption,
  requireOut,
  threadsOption,
  wholeNumber,
  wrongUsage,
} from '../../options.js';
import { GLOBS } from '../../terminal/globs.js';
import { ProgressLine } from '../../terminal/progress.js';
import { type Column, formatTable } from '../../terminal/table.js';
import type { Terminal } from '../../terminal/terminal.js';
import { DTYPES, leavesNothing } from './options.js';

interface CorrectFlags {
  readonly out?: string;
  readonly rank: number;
  readonly imatrix?: string;
  readonly calibration?: string;
  readonly tensor?: readonly string[];
  readonly family?: string;
  readonly dtype: string;
  readonly baseName?: string;
  readonly threads?: number;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank lora correct model-f16.gguf model-Q4_0.gguf -o fix.gguf --imatrix imatrix.gguf
  lowrank lora correct my-model model-Q3_K_M.gguf -o fix.gguf --rank 32 --calibration moments.safetensors
  lowrank lora correct my-model dequantised -o fix --rank 64 --calibration moments.safetensors

Run llama.cpp with --lora fix.gguf, node-llama-cpp with the option lora, or load the folder with PEFT.

${GLOBS}`;

/** `lowrank lora correct`: makes an adapter of what quantisation took from a model. */
export function defineCorrect(command: Command, terminal: Terminal): void {
  command
    .argument('<original>', 'safetensors or GGUF file, or a folder')
    .argument('<quantised>', 'the same model in GGUF, or dequantised in safetensors')
    .option('-o, --out <path>', 'output path: a GGUF file if the quantised model is one, else a folder; must not exist')
    .addOption(new Option('--rank <r>', 'rank of each module').argParser(wholeNumber(1)).default(32))
    .option('--imatrix <file>', 'importance matrix of llama.cpp, in GGUF')
    .option('--calibration <file>', 'moments of the inputs of the layers, in safetensors')
    .option(
      '--tensor <glob>',
      "only tensors whose names match; default: the layers' matrices; may be repeated",
      collect,
    )
    .addOption(familyOption())
    .addOption(new Option('--dtype <dtype>', 'type of the factors; q8_0 only in GGUF').choices(DTYPES).default('f32'))
    .option('--base-name <name>', 'name of the base model in an adapter folder; default: its path as given')
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((original: string, quantised: string, flags: CorrectFlags) =>
      runCorrect(original, quantised, flags, terminal),
    );
}

async function runCorrect(original: string, quantised: string, flags: CorrectFlags, terminal: Terminal): Promise<void> {
  const out = requireOut(flags.out);
  const { rank, imatrix, tensor: tensors, family, baseName, threads } = flags;
  if (imatrix !== undefined && flags.calibration !== undefined) {
    throw wrongUsage('pass only one of --imatrix, --calibration');
  }
  const calibration = imatrix ?? flags.calibration;
  const dtype = flags.dtype.toUpperCase() as WritableType;
  const correction = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    ...leavesNothing(out),
    work: async (signal, onProgress) => {
      await requireNewOutput(out);
      const options = { rank, calibration, tensors, family, dtype, baseName, threads, signal, onProgress };
      const made = await correctQuantization(original, quantised, options);
      await writeAdapter(made.adapter, out, { signal });
      return made;
    },
  });
  const { adapter: _, ...report } = correction;
  const { err } = terminal;
  if (calibration === undefined) {
    err.lines([
      `${err.colors.yellow('warning:')} without moments the plain error of the weights is corrected, which helps much less`,
      `${err.colors.dim('hint:')} pass --imatrix <file> (llama-imatrix makes one) or --calibration <file>`,
    ]);
  }
  for (const { name, why } of report.leftOut) err.lines([`left out: ${printable(name)}: ${why}`]);
  printResult(terminal, flags, { out, ...report }, () => printReport(correction, out, terminal));
}

const COLUMNS: readonly Column[] = [
  { title: 'weight', names: true },
  { title: 'shape' },
  { title: 'type' },
  { title: 'rank', align: 'right' },
  { title: 'error', align: 'right' },
  { title: 'corrected', align: 'right' },
];

function printReport(
  { weights, removed, bytes, bitsPerWeight, seconds }: Correction,
  out: string,
  { out: output }: Terminal,
): void {
  const { bold, green } = output.colors;
  const rows = weights.map((weight) => [
    weight.tensor,
    formatShape(weight.shape),
    weight.dtype,
    String(weight.rank),
    formatError(weight.errorBefore),
    formatError(weight.errorAfter),
  ]);
  output.lines(formatTable(COLUMNS, rows, output.columns, bold));
  const count = weights.length === 1 ? '1 weight' : `${weights.length} weights`;
  output.lines([
    `${formatShare(removed)} of the squared error of ${count} removed, ${bitsPerWeight.toFixed(2)} bits for each number`,
    `${green('wrote')} ${printable(out)}, ${formatBytes(bytes)}, in ${formatSeconds(seconds)}`,
  ]);
}
