import type { Command } from 'commander';
import { adapterObstacles, type LoraAdapter, type LoraModule } from '../../../adapters/adapter.js';
import { readAdapter } from '../../../adapters/files.js';
import { formatBytes, formatCount, formatShape } from '../../../text/format.js';
import { printable } from '../../../text/printable.js';
import { printResult } from '../../job.js';
import { jsonOption } from '../../options.js';
import { type Column, formatTable } from '../../terminal/table.js';
import type { Output, Terminal } from '../../terminal/terminal.js';

const EXAMPLES = `
Examples:
  lowrank lora inspect my-adapter
  lowrank lora inspect my-adapter --json
  lowrank lora inspect my-adapter.gguf`;

/** `lowrank lora inspect`: lists the modules of an adapter. */
export function defineInspect(command: Command, terminal: Terminal): void {
  command
    .argument('<adapter>', 'folder with adapter_config.json and adapter_model.safetensors, or a GGUF file')
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((adapter: string, flags: { json?: boolean }) => runInspect(adapter, flags, terminal));
}

async function runInspect(path: string, flags: { json?: boolean }, terminal: Terminal): Promise<void> {
  const adapter = await readAdapter(path);
  printResult(terminal, flags, describeAdapter(adapter), () => printAdapter(adapter, terminal.out));
}

function describeAdapter(adapter: LoraAdapter) {
  const modules = [...adapter.modules.values()];
  return {
    path: adapter.source?.path,
    form: adapter.architecture === undefined ? 'peft' : 'gguf',
    /** Of an adapter in GGUF. */
    architecture: adapter.architecture,
    baseModel: adapter.config.base_model_name_or_path,
    parameters: modules.reduce((sum, module) => sum + parametersOf(module), 0),
    bytes: modules.reduce((sum, { a, b }) => sum + a.bytes.length + b.bytes.length, 0),
    modules: modules.map((module) => ({
      name: module.name,
      kind: module.kind,
      shape: shapeOf(module),
      dtype: module.b.dtype,
      rank: module.rank,
      alpha: module.alpha,
      scaling: module.scaling,
      parameters: parametersOf(module),
    })),
    /** Reasons why this package cannot compute with the adapter. */
    obstacles: adapterObstacles(adapter),
    config: adapter.config,
  };
}

const COLUMNS: readonly Column[] = [
  { title: 'module', names: true },
  { title: 'update (out x in)' },
  { title: 'dtype' },
  { title: 'rank', align: 'right' },
  { title: 'alpha', align: 'right' },
  { title: 'scaling', align: 'right' },
  { title: 'parameters', align: 'right' },
];

function printAdapter(adapter: LoraAdapter, output: Output): void {
  const { path, architecture, baseModel, parameters, bytes, obstacles: found } = describeAdapter(adapter);
  const base = architecture === undefined ? (baseModel ?? 'an unnamed base model') : `a ${architecture} model in GGUF`;
  const { bold, yellow } = output.colors;
  const count = adapter.modules.size;
  output.lines([
    printable(path ?? ''),
    `LoRA for ${printable(String(base))}, ${count} ${count === 1 ? 'module' : 'modules'}, ${formatCount(parameters)} parameters, ${formatBytes(bytes)}`,
    '',
  ]);
  const rows = [...adapter.modules.values()].map((module) => [
    module.kind === 'linear' ? module.name : `${module.name} (${module.kind})`,
    formatShape(shapeOf(module)),
    module.b.dtype,
    String(module.rank),
    String(module.alpha),
    String(Number(module.scaling.toPrecision(4))),
    formatCount(parametersOf(module)),
  ]);
  if (rows.length > 0) output.lines(formatTable(COLUMNS, rows, output.columns, bold));
  for (const obstacle of found) output.lines([`${yellow('unsupported:')} ${printable(obstacle)}`]);
}

function shapeOf({ a, b }: LoraModule): [number, number] {
  return [b.shape[0]!, a.shape[1]!];
}

function parametersOf({ a, b, rank }: LoraModule): number {
  return rank * (a.shape[1]! + b.shape[0]!);
}
