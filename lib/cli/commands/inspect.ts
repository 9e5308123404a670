import type { Command } from 'commander';
import { FORMATS_IN_WORDS } from '../../checkpoint/formats.js';
import {
  describeUnlisted,
  type InspectedTensor,
  type InspectReport,
  inspectCheckpoint,
  type MatrixSpectrum,
} from '../../inspect/inspect.js';
import { formatBytes, formatCount, formatShape } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import { printResult, runJob } from '../job.js';
import { familyOption, jsonOption, threadsOption } from '../options.js';
import { GLOBS, printSkipped } from '../terminal/globs.js';
import { ProgressLine } from '../terminal/progress.js';
import { sparkline } from '../terminal/sparkline.js';
import { type Column, formatTable } from '../terminal/table.js';
import type { Output, Terminal } from '../terminal/terminal.js';

interface InspectFlags {
  readonly spectrum?: boolean;
  readonly tensor?: string;
  readonly family?: string;
  readonly threads?: number;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank inspect my-model
  lowrank inspect my-model.gguf --json
  lowrank inspect my-model --spectrum --tensor '*.mlp.*.weight'
  lowrank inspect weights.safetensors --family llama

${GLOBS}
docs/mathematics.md explains the columns of --spectrum.`;

/** `lowrank inspect`: lists the contents of a checkpoint, and the spectra of its matrices. */
export function defineInspect(command: Command, terminal: Terminal): void {
  command
    .argument('<checkpoint>', `${FORMATS_IN_WORDS} file, or a folder`)
    .option('--spectrum', 'compute the singular values; decomposes each matrix')
    .option('--tensor <glob>', 'only tensors whose names match')
    .addOption(familyOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((checkpoint: string, flags: InspectFlags) => runInspect(checkpoint, flags, terminal));
}

async function runInspect(checkpoint: string, flags: InspectFlags, terminal: Terminal): Promise<void> {
  const { spectrum, tensor: tensors, family, threads } = flags;
  const report = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    work: (signal, onProgress) =>
      inspectCheckpoint(checkpoint, { spectrum, tensors, family, threads, signal, onProgress }),
  });
  printSkipped(report.skipped, 'matrices', terminal.err);
  printResult(terminal, flags, report, () => printReport(report, terminal.out));
}

interface TensorColumn extends Column {
  readonly cell: (tensor: InspectedTensor) => string;
}

const TENSOR_COLUMNS: readonly TensorColumn[] = [
  { title: 'tensor', cell: ({ name, alias }) => alias ?? name },
  { title: 'type', cell: ({ types }) => types.join(',') },
  { title: 'shape', cell: ({ shape }) => formatShape(shape) },
  { title: 'dtype', cell: ({ dtype }) => dtype },
  { title: 'parameters', align: 'right', cell: ({ parameters }) => formatCount(parameters) },
  { title: 'size', align: 'right', cell: ({ bytes }) => formatBytes(bytes) },
];
/** Shown only if some tensor has a value. */
const MORE_COLUMNS: readonly TensorColumn[] = [
  { title: 'uses', align: 'right', cell: ({ users }) => String(users?.length ?? '') },
  { title: 'name in the file', cell: ({ name, alias }) => (alias === undefined ? '' : name) },
];

function printReport(report: InspectReport, output: Output): void {
  const { bold } = output.colors;
  const { path, format, family, layers, types, orientations, parameters, bytes, tensors, unlisted, spectra } = report;
  output.lines([
    printable(path),
    `${format}, ${tensors.length} ${tensors.length === 1 ? 'tensor' : 'tensors'}, ${formatCount(parameters)} parameters, ${formatBytes(bytes)}`,
    family === undefined
      ? 'family unknown: select tensors by name, or pass --family'
      : `family ${family}, layers 0 to ${layers! - 1}, types ${types.join(' ')}`,
    ...(orientations.length > 0 ? [`matrices stored ${orientations.join(' and ')}`] : []),
    ...unlisted.map((group) => `not listed: ${describeUnlisted(group)}. ${group.hint}`),
    '',
  ]);
  if (spectra !== undefined) {
    const names = new Map(tensors.map(({ name, alias }) => [name, alias ?? name]));
    const rows = spectra.map((spectrum) => spectrumRow(spectrum, names.get(spectrum.tensor)!));
    output.lines(formatTable(SPECTRUM_COLUMNS, rows, output.columns, bold));
    return;
  }
  const columns = [...TENSOR_COLUMNS, ...MORE_COLUMNS.filter(({ cell }) => tensors.some((tensor) => cell(tensor)))];
  const rows = tensors.map((tensor) => columns.map(({ cell }) => cell(tensor)));
  output.lines(formatTable(columns, rows, output.columns, bold));
}

const SPECTRUM_COLUMNS: readonly Column[] = [
  { title: 'tensor' },
  { title: 'shape' },
  { title: 'rank', align: 'right' },
  { title: 'effective', align: 'right' },
  { title: 'k 90 %', align: 'right' },
  { title: 'k 95 %', align: 'right' },
  { title: 'k 99 %', align: 'right' },
  { title: 'noise edge', align: 'right' },
  { title: 'break-even', align: 'right' },
  { title: 'singular values' },
];

function spectrumRow(spectrum: MatrixSpectrum, tensor: string): string[] {
  const { matrix, shape } = spectrum;
  return [
    matrix === undefined ? tensor : `${tensor} [${matrix}]`,
    formatShape(shape),
    String(spectrum.rank),
    spectrum.effectiveRank.toFixed(1),
    String(spectrum.energyRank90),
    String(spectrum.energyRank95),
    String(spectrum.energyRank99),
    String(spectrum.marchenkoPasturRank),
    spectrum.breakEvenRank.toFixed(1),
    sparkline(spectrum.singularValues),
  ];
}
