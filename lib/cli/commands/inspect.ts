import type { Command } from 'commander';
import { FORMATS_IN_WORDS } from '../../checkpoint/formats.js';
import {
  describeUnlisted,
  type InspectedTensor,
  type InspectReport,
  inspectCheckpoint,
  type MatrixSpectrum,
  type TensorGroup,
} from '../../inspect/inspect.js';
import { formatBytes, formatCount, formatShape } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import { formatRanges } from '../../text/ranges.js';
import { printResult, runJob } from '../job.js';
import { familyOption, jsonOption, threadsOption } from '../options.js';
import { GLOBS, printSkipped } from '../terminal/globs.js';
import { printMatrices, typesInWords } from '../terminal/matrix-table.js';
import { ProgressLine } from '../terminal/progress.js';
import { sparkline } from '../terminal/sparkline.js';
import type { Column } from '../terminal/table.js';
import type { Output, Terminal } from '../terminal/terminal.js';

interface InspectFlags {
  readonly spectrum?: boolean;
  readonly tensors?: boolean;
  readonly flatten?: boolean;
  readonly tensor?: string;
  readonly family?: string;
  readonly threads?: number;
  readonly json?: boolean;
}

const EXAMPLES = `
Examples:
  lowrank inspect my-model
  lowrank inspect my-model --tensors
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
    .option('--tensors', 'one row for each tensor, instead of one for those alike in all layers')
    .option('--tensor <glob>', 'only tensors whose names match, one row for each')
    .option('--flatten', 'with --spectrum: tensors of more than two dimensions as [first, all others]')
    .addOption(familyOption())
    .addOption(threadsOption())
    .addOption(jsonOption())
    .addHelpText('after', EXAMPLES)
    .action((checkpoint: string, flags: InspectFlags) => runInspect(checkpoint, flags, terminal));
}

async function runInspect(checkpoint: string, flags: InspectFlags, terminal: Terminal): Promise<void> {
  const { spectrum, flatten, tensor: tensors, family, threads } = flags;
  const rows = flags.tensors === true || tensors !== undefined;
  const report = await runJob(terminal, {
    progress: new ProgressLine(terminal.err),
    work: (signal, onProgress) =>
      inspectCheckpoint(checkpoint, { spectrum, flatten, tensors, family, threads, signal, onProgress }),
  });
  printSkipped(report.skipped, 'matrices', terminal.err);
  printResult(terminal, flags, report, () => printReport(report, rows, terminal.out));
}

interface ColumnOf<T> extends Column {
  readonly cell: (row: T) => string;
}

const TENSOR_COLUMNS: readonly ColumnOf<InspectedTensor>[] = [
  { title: 'type', cell: ({ types }) => typesInWords(types) },
  { title: 'shape', cell: ({ shape }) => formatShape(shape) },
  { title: 'dtype', cell: ({ dtype }) => dtype },
  { title: 'parameters', align: 'right', drop: 2, cell: ({ parameters }) => formatCount(parameters) },
  { title: 'size', align: 'right', cell: ({ bytes }) => formatBytes(bytes) },
];
/** Shown only if some tensor has a value. */
const MORE_COLUMNS: readonly ColumnOf<InspectedTensor>[] = [
  { title: 'uses', align: 'right', cell: ({ users }) => String(users?.length ?? '') },
  { title: 'name in the file', drop: 1, cell: ({ name, alias }) => (alias === undefined ? '' : name) },
];

function printReport(report: InspectReport, everyTensor: boolean, output: Output): void {
  const { path, format, family, layers, types, orientations, parameters, bytes, tensors, unlisted, spectra } = report;
  output.lines([
    printable(path),
    `${format}, ${tensors.length} ${tensors.length === 1 ? 'tensor' : 'tensors'}, ${formatCount(parameters)} parameters, ${formatBytes(bytes)}`,
    ...(family === undefined
      ? ['family unknown: select tensors by name, or pass --family']
      : [`family ${family}, layers 0 to ${layers! - 1}`, `types ${types.join(' ')}`]),
    ...(orientations.length > 0 ? [`matrices stored ${orientations.join(' and ')}`] : []),
    ...unlisted.map((group) => `not listed: ${describeUnlisted(group)}. ${group.hint}`),
    '',
  ]);
  if (spectra !== undefined) printSpectra(spectra, tensors, output);
  else if (everyTensor) printTensors(tensors, output);
  else printGroups(report, output);
}

function printTensors(tensors: readonly InspectedTensor[], output: Output): void {
  const columns = [...TENSOR_COLUMNS, ...MORE_COLUMNS.filter(({ cell }) => tensors.some((tensor) => cell(tensor)))];
  const rows = tensors.map((tensor) => ({
    name: tensor.alias ?? tensor.name,
    cells: columns.map(({ cell }) => cell(tensor)),
  }));
  printMatrices(columns, rows, output);
}

const GROUP_COLUMNS: readonly ColumnOf<TensorGroup>[] = [
  { title: 'type', cell: ({ types }) => typesInWords(types) },
  { title: 'layers', cell: ({ layers }) => formatRanges(layers) },
  { title: 'tensors', align: 'right', drop: 1, cell: ({ tensors }) => formatCount(tensors) },
  { title: 'shape', cell: ({ shape }) => formatShape(shape) },
  { title: 'dtype', cell: ({ dtype }) => dtype },
  { title: 'parameters', align: 'right', drop: 2, cell: ({ parameters }) => formatCount(parameters) },
  { title: 'size', align: 'right', cell: ({ bytes }) => formatBytes(bytes) },
];

/** Prints one row for the tensors that are alike in several layers. */
function printGroups({ groups, tensors }: InspectReport, output: Output): void {
  const rows = groups.map((group) => ({ name: group.name, cells: GROUP_COLUMNS.map(({ cell }) => cell(group)) }));
  printMatrices(GROUP_COLUMNS, rows, output);
  if (groups.length < tensors.length) {
    output.lines(['', `--tensors lists all ${tensors.length} tensors`]);
  }
}

const SPECTRUM_COLUMNS: readonly Column[] = [
  { title: 'shape', drop: 2 },
  { title: 'rank', align: 'right' },
  { title: 'effective', align: 'right' },
  { title: 'k 90 %', align: 'right' },
  { title: 'k 95 %', align: 'right' },
  { title: 'k 99 %', align: 'right' },
  { title: 'noise edge', align: 'right', drop: 3 },
  { title: 'break-even', align: 'right', drop: 1 },
  { title: 'singular values', drop: 4 },
];

function printSpectra(spectra: readonly MatrixSpectrum[], tensors: readonly InspectedTensor[], output: Output): void {
  const known = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  const rows = spectra.map((spectrum) => {
    const { name, alias, layer, types } = known.get(spectrum.tensor)!;
    const index = spectrum.matrix === undefined ? '' : ` [${spectrum.matrix}]`;
    return { name: `${alias ?? name}${index}`, layer, types, cells: spectrumCells(spectrum) };
  });
  printMatrices(SPECTRUM_COLUMNS, rows, output);
}

function spectrumCells(spectrum: MatrixSpectrum): string[] {
  return [
    formatShape(spectrum.shape),
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
