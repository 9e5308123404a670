import { type Command, Option } from 'commander';
import { convertLora, LORA_FORMS, type LoraForm } from '../../../adapters/convert.js';
import { readAdapter, requireNewOutput, writeAdapter } from '../../../adapters/files.js';
import type { WritableType } from '../../../tensor/dtype.js';
import { formatSeconds, formatShape } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { printResult, runJob } from '../../job.js';
import { jsonOption, requireOut } from '../../options.js';
import { ProgressLine } from '../../terminal/progress.js';
import { type Column, formatTable } from '../../terminal/table.js';
import type { Terminal } from '../../terminal/terminal.js';
import { DTYPES, leavesNothing } from './options.js';

interface ConvertFlags {
  readonly out?: string;
  readonly to?: LoraForm;
  readonly base?: string;
  readonly baseName?: string;
  readonly dtype: string;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank lora convert my-adapter -o my-adapter.gguf --base my-model
  lowrank lora convert my-adapter -o my-adapter.gguf --base model.gguf --dtype f16
  lowrank lora convert my-adapter.gguf -o my-adapter --base my-model`;

/** `lowrank lora convert`: changes an adapter from PEFT's form to GGUF, or back. */
export function defineConvert(command: Command, terminal: Terminal): void {
  command
    .argument('<adapter>', 'adapter folder or adapter in GGUF; never modified')
    .option('-o, --out <path>', 'output path: a GGUF file, or a folder; must not exist')
    .addOption(new Option('--to <form>', 'form of the result; default: the other one').choices(LORA_FORMS))
    .option('--base <path>', 'base model: a GGUF file, or a folder with config.json; weights are not needed')
    .option('--base-name <name>', 'name of the base model in an adapter folder; default: its path as given')
    .addOption(new Option('--dtype <dtype>', 'type of the factors; q8_0 only in GGUF').choices(DTYPES).default('f32'))
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((adapter: string, flags: ConvertFlags) => runConvert(adapter, flags, terminal));
}

const COLUMNS: readonly Column[] = [
  { title: 'module', names: true },
  { title: 'becomes' },
  { title: 'update (out x in)' },
  { title: 'rank', align: 'right' },
];

async function runConvert(path: string, flags: ConvertFlags, terminal: Terminal): Promise<void> {
  const out = requireOut(flags.out);
  const { to, base, baseName } = flags;
  const dtype = flags.dtype.toUpperCase() as WritableType;
  const started = performance.now();
  const { before, after } = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    ...leavesNothing(out),
    work: async (signal) => {
      await requireNewOutput(out);
      const before = await readAdapter(path);
      const after = await convertLora(before, { to, base, baseName, dtype });
      await writeAdapter(after, out, { signal });
      return { before, after };
    },
  });
  const seconds = (performance.now() - started) / 1000;
  const names = [...before.modules.keys()];
  const modules = [...after.modules.values()].map(({ name, kind, rank, a, b }, i) => ({
    name: names[i]!,
    becomes: name,
    kind,
    shape: [b.shape[0]!, a.shape[1]!],
    rank,
  }));
  const form = after.architecture === undefined ? 'peft' : 'gguf';
  const document = { source: path, out, form, architecture: after.architecture, modules, seconds };
  printResult(terminal, flags, document, () => {
    const { bold, green } = terminal.out.colors;
    const rows = modules.map((it) => [it.name, it.becomes, formatShape(it.shape), String(it.rank)]);
    if (rows.length > 0) terminal.out.lines(formatTable(COLUMNS, rows, terminal.out.columns, bold));
    terminal.out.lines([`${green('wrote')} ${printable(out)} in ${formatSeconds(seconds)}`]);
  });
}
